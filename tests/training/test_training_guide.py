"""What the guide to training says is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_steer.value_probe import Polarity, load_value_head

if TYPE_CHECKING:
    import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "training-a-value-head.md"


def test_the_snippets_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder; in the end there is a calibrated head, and one of the own loop."""
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"(?ms)^```python\n(.*?)^```", GUIDE.read_text("utf-8"))
    names: dict[str, Any] = {}

    for snippet in snippets:
        exec(snippet, names)  # noqa: S102  (what is tested)

    assert len(snippets) == 8
    card = load_value_head("vhead.safetensors").card
    curve = card.curve("alpha")
    assert curve is not None
    assert names["metrics"].auroc_last > 0.85
    assert [asked for asked, _ in curve.points] == [0, 0.05, 0.25, 0.5]
    assert card.scores is Polarity.P_UNDESIRABLE
    assert not Path("vhead.safetensors.state").exists()
    assert load_value_head("own.pt").card.threshold == 0.3
