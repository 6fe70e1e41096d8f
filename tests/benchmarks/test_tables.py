"""The figures of the documentation are those of the files of results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import tables

_DOCS = Path(__file__).parent.parent.parent / "docs"
_FILES = sorted(tables.RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", _FILES, ids=[path.stem for path in _FILES])
def test_the_tables_of_the_page_are_made_from_results(path: Path) -> None:
    """Whoever measures again finds a test that fails until the page follows."""
    page = (_DOCS / "benchmarks.md").read_text(encoding="utf-8")

    assert tables.ratios(path) in page
    assert tables.latencies(path) in page
    assert f"({path.stem}.png)" in page


def test_a_file_of_another_shape_is_named(tmp_path: Path) -> None:
    """With what is wrong in it."""
    path = tmp_path / "decode-tiny.json"
    text = _FILES[0].read_text(encoding="utf-8")
    path.write_text(text.replace('"ratio"', '"rate"', 1), encoding="utf-8")

    with pytest.raises(SystemExit, match=r"decode-tiny\.json: .*rat"):
        tables.read(path)
