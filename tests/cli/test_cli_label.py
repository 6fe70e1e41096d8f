"""``value-steer label``: what is there already, and what cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.labels.fake_judge import FakeJudge, serving
from value_steer import cli
from value_steer.features import (
    CacheSpec,
    FeatureCache,
    Response,
    ResponseFeatures,
    ResponseKey,
)
from value_steer.labels.store import read_labels

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """Four responses: A, B, A, B."""
    cache = FeatureCache.create(tmp_path / "features", CacheSpec(4))
    cache.add(
        [
            ResponseFeatures(
                Response(ResponseKey(str(i)), text="AB"[i % 2]),
                torch.ones(1),
                torch.ones(1, 4),
                torch.ones(4),
            )
            for i in range(4)
        ]
    )
    return cache.folder


def _labels(features: Path, name: str) -> list[float | None]:
    return list(read_labels(FeatureCache.open(features), name).values())


def test_another_pattern_is_refused_or_made_anew(
    features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first labels do not come back under the second pattern."""
    label = ["label", str(features), "--by", "regex", "--pattern"]
    assert cli.main([*label, "A"]) == 0
    assert cli.main([*label, "A"]) == 0
    assert cli.main([*label, "B"]) == 2
    assert "pattern: 'A' → 'B'" in capsys.readouterr().err
    assert _labels(features, "regex") == [1, 0, 1, 0]
    assert cli.main([*label, "B", "--name", "other"]) == 0
    assert cli.main([*label, "B", "--again"]) == 0
    assert _labels(features, "regex") == _labels(features, "other") == [0, 1, 0, 1]


def test_a_corrected_file_is_refused(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its content."""
    file = tmp_path / "q.csv"
    rows = [f"{i},0.5" for i in range(4)]
    file.write_text("\n".join(["prompt_id,label", *rows]), encoding="utf-8")
    label = ["label", str(features), "--by", "column", "--file", str(file)]
    assert cli.main(label) == 0
    file.write_text("\n".join(["prompt_id,label", *rows[:3], "3,0.25"]), encoding="utf-8")

    assert cli.main(label) == 2
    assert "was made otherwise than is asked for now: labels: " in capsys.readouterr().err
    assert cli.main([*label, "--again"]) == 0
    assert _labels(features, "label") == [0.5, 0.5, 0.5, 0.25]


def test_another_judge_is_refused(features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As is another limit on its answers."""
    label = ["label", str(features), "--by", "safety", "--url"]
    with serving(FakeJudge(lambda _: "safe")) as judge:
        assert cli.main([*label, judge.url]) == 0
        assert cli.main([*label, judge.url, "--max-tokens", "9"]) == 2
        assert "max_tokens: 256 → 9" in capsys.readouterr().err
        assert len(judge.asked) == 4
    with serving(FakeJudge(lambda _: "safe", model="large")) as other:
        assert cli.main([*label, other.url]) == 2
        assert "model: 'tiny' → 'large'" in capsys.readouterr().err


def test_a_judge_that_is_cut_off_is_an_error(
    features: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a cache full of bad responses."""
    label = ["label", str(features), "--by", "safety", "--url"]
    with serving(FakeJudge(lambda _: None, finish="length")) as judge:
        assert cli.main([*label, judge.url]) == 1
        error = capsys.readouterr().err
        assert "4 verdicts could not be read, more than the 0 that are allowed" in error
        assert cli.main([*label, judge.url, "--again", "--max-unreadable", "1"]) == 0

    assert "0 labels 'safety', nan good on average; 4 unreadable" in capsys.readouterr().out
    assert _labels(features, "safety") == [None] * 4


@pytest.mark.parametrize("option", ["--max-unreadable 1.5", "--max-unreadable x", "--max-tokens 0"])
def test_options_are_checked(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["label", "none", "--by", "exact", *option.split()])

    assert stopped.value.code == 2
    assert option.split(maxsplit=1)[0] in capsys.readouterr().err
