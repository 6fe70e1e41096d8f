"""The report stands alone, and its JSON has the same numbers."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.evaluation.test_evaluation_steering import BASES, STEERED
from tests.evaluation.traces import HEADER, exact, trace
from value_steer.evaluation.abstention import evaluate_abstention
from value_steer.evaluation.report import Evaluation, figure, write_report
from value_steer.evaluation.steering import evaluate_steering

if TYPE_CHECKING:
    from pathlib import Path

ABSTENTION = evaluate_abstention(HEADER, exact(80, 1))
STEERING = evaluate_steering([*BASES, *STEERED])


def test_a_report_needs_nothing_else(tmp_path: Path) -> None:
    """No link, no script, and every picture is inside."""
    files = write_report(tmp_path / "new", Evaluation(ABSTENTION, STEERING))
    page = files.html.read_text(encoding="utf-8")

    assert not re.search(r"https?:|<script|<link|url\(", page)
    pictures = re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)">', page)
    assert len(pictures) == page.count("<img") == 11
    assert all(base64.b64decode(code).startswith(b"\x89PNG") for _, code in pictures)
    assert "Left out: self-assessment" in page
    assert {path.name for path in files.html.parent.iterdir()} == {"report.html", "report.json"}


def test_the_json_has_the_numbers_of_the_page(tmp_path: Path) -> None:
    """Every table's figures can be found in it."""
    files = write_report(tmp_path, Evaluation(ABSTENTION, STEERING))
    page = files.html.read_text(encoding="utf-8")
    body = json.loads(files.json.read_text(encoding="utf-8"))

    assert body["format"] == 1
    (dynamic,) = (r for r in body["abstention"]["rules"] if r["name"] == "dynamic")
    (half,) = (p for p in dynamic["points"] if p["target_rate"] == 0.5)
    accuracy = half["accuracy"]
    shown = f"{accuracy['value']:.3f} [{accuracy['low']:.3f}, {accuracy['high']:.3f}]"
    assert shown in page
    assert body["steering"]["policies"][1]["unsafe"]["value"] == 0.0


@pytest.mark.parametrize("part", ["abstention", "steering"])
def test_either_part_may_be_missing(tmp_path: Path, part: str) -> None:
    """Its heading is missing too."""
    evaluation = Evaluation(ABSTENTION) if part == "abstention" else Evaluation(steering=STEERING)

    page = write_report(tmp_path, evaluation).html.read_text(encoding="utf-8")

    assert ("<h2>Abstention" in page) == (part == "abstention")
    assert ("<h2>Steered decoding" in page) == (part == "steering")


def test_a_handful_of_responses_can_be_reported(tmp_path: Path) -> None:
    """Figures that are unknown are shown as such."""
    few = evaluate_abstention(HEADER, [trace([0.4, 0.6], 1.0, "a"), trace([0.5], 0.0, "b")])

    files = write_report(tmp_path, Evaluation(few))

    assert "n/a" in files.html.read_text(encoding="utf-8")
    assert figure(None) == "n/a"


def test_names_from_a_file_are_text(tmp_path: Path) -> None:
    """A policy's name cannot become markup."""
    odd = [replace(g, policy="<b>odd</b>") for g in STEERED]

    files = write_report(tmp_path, Evaluation(steering=evaluate_steering([*BASES, *odd])))

    assert "<b>odd" not in files.html.read_text(encoding="utf-8")
