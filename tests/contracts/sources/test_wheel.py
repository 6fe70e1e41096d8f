"""Files are read out of a wheel in place, and each only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.release_server import serve, wheel_bytes
from value_steer.contracts.sources import index, ranges
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.contracts.sources.wheel import WheelTree, cache_folder
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {
    "vllm/a.py": "a = 1\n" * 500,
    "vllm/b.py": "b = 2\n" * 500,
    "vllm-1.2.3.dist-info/METADATA": "Name: vllm\n",
}


@pytest.fixture(autouse=True)
def _fresh_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    index.shared_session.cache_clear()
    yield
    index.shared_session(IndexSettings()).close()
    index.shared_session.cache_clear()


@pytest.mark.parametrize("has_ranges", [True, False])
def test_files_are_read_whether_or_not_ranges_are_served(
    has_ranges: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """Both ways give the same texts; a file that is not there is None."""
    with serve(wheel_bytes(FILES), ranges=has_ranges) as server:
        tree = WheelTree(server.wheel(), IndexSettings(), tmp_path)
        tree.prefetch(FILES)

        assert tree.read("vllm/a.py") == FILES["vllm/a.py"]
        assert tree.read("vllm/none.py") is None
        assert tree.metadata() == "Name: vllm\n"
        assert tree.version() == "1.2.3"


def test_what_was_saved_is_not_asked_for_again(tmp_path: Path) -> None:
    """A second tree of the same hash answers from the cache, absences included."""
    with serve(wheel_bytes(FILES)) as server:
        first = WheelTree(server.wheel(), IndexSettings(), tmp_path)
        first.read("vllm/a.py")
        first.read("vllm/none.py")
        first.save()
        server.asked.clear()
        second = WheelTree(server.wheel(), IndexSettings(), tmp_path)

        assert second.read("vllm/a.py") == FILES["vllm/a.py"]
        assert second.read("vllm/none.py") is None
        assert server.asked == []


def test_an_unreadable_cache_is_made_again(tmp_path: Path) -> None:
    """A damaged cache costs a fetch and nothing else."""
    with serve(wheel_bytes(FILES)) as server:
        wheel = server.wheel()
        (tmp_path / wheel.sha256).mkdir()
        (tmp_path / wheel.sha256 / "sources.json").write_text("{", encoding="utf-8")

        text = WheelTree(wheel, IndexSettings(), tmp_path).read("vllm/b.py")
        assert text == FILES["vllm/b.py"]


def test_only_the_needed_parts_are_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in front of the tail costs its own span, not the whole wheel."""
    monkeypatch.setattr(ranges, "_TAIL", 600)
    monkeypatch.setattr(ranges, "_CHUNK", 64)
    files = {f"vllm/{n}.py": "".join(chr(33 + (i * n) % 90) for i in range(4000)) for n in (1, 7)}
    content = wheel_bytes(files)
    with serve(content) as server:
        tree = WheelTree(server.wheel(), IndexSettings(), tmp_path)
        tree.prefetch(["vllm/7.py"])
        tree.prefetch(["vllm/7.py"])

        assert tree.read("vllm/7.py") == files["vllm/7.py"]
        assert tree.read("vllm/1.py") == files["vllm/1.py"]
        assert server.asked[0] == "bytes=-600"
        assert all(server.asked)


@pytest.mark.parametrize(
    ("content", "told"), [(b"no zip", "cannot be read"), (b"", "cannot be read")]
)
def test_what_is_no_wheel_is_one_clear_error(content: bytes, told: str, tmp_path: Path) -> None:
    """The error names the wheel."""
    with serve(content, ranges=False) as server:
        tree = WheelTree(server.wheel(), IndexSettings(), tmp_path)
        with pytest.raises(ContractError, match=rf"vllm-1\.2\.3.*{told}"):
            tree.read("vllm/a.py")


def test_a_download_with_another_hash_is_refused(tmp_path: Path) -> None:
    """What was downloaded must be what the index names, and nothing of it stays."""
    with serve(wheel_bytes(FILES), ranges=False) as server:
        tree = WheelTree(server.wheel(sha256="0" * 64), IndexSettings(), tmp_path)
        with pytest.raises(ContractError, match="does not have the hash"):
            tree.read("vllm/a.py")

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"VALUE_STEER_CACHE": "/here"}, "/here"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/value-steer"),
        ({"HOME": "/home/me"}, "/home/me/.cache/value-steer"),
    ],
)
def test_the_cache_is_where_users_keep_caches(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own variable first, then the desktop standard, then the home folder."""
    for name in ("VALUE_STEER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder().as_posix() == folder
