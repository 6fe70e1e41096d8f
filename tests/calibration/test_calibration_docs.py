"""The page on calibration runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "calibration.md"


def test_the_snippets_run_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one folder and one namespace, without a warning."""
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    space: dict[str, object] = {}

    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), space)  # noqa: S102  (what the page shows)

    assert len(snippets) == 5
    assert 0 < float(str(space["c"])) < 1
    assert len(capsys.readouterr().out.splitlines()) == 12
