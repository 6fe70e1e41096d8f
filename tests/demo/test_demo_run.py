"""The demonstration from end to end, reduced, on the reference decoder."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from value_steer.demo import Backend, DemoError, DemoOptions, plot, run_demo, serving
from value_steer.demo.grammar import ADRIFT, HARBOUR, MOORED, WRECK
from value_steer.demo.job import WORKER, Job
from value_steer.demo.measures import Pairs, abstain_figures
from value_steer.demo.table import show
from value_steer.errors import SettingsError
from value_steer.value_probe import Polarity, load_value_head

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.demo import DemoReport
    from value_steer.evaluation.intervals import Estimate

# So small a calibration set says that its threshold is not sure.
pytestmark = pytest.mark.filterwarnings("ignore:the head's threshold for alpha:UserWarning")

SMALL: dict[str, Any] = {
    "backend": Backend.REFERENCE,
    "alpha": 0.2,
    "model_steps": 80,
    "training": 300,
    "calibration": 300,
    "fresh": 300,
    "served": 40,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    """One demonstration, shared."""
    return run_demo(DemoOptions(folder=tmp_path_factory.mktemp("demo"), **SMALL))


def test_bad_texts_fall_and_good_ones_stay(report: DemoReport) -> None:
    """Measured with the same seeds; the exact laws lie within the intervals."""
    found = report.filtering

    assert _value(found.bad) < _value(found.bad_base) / 2
    assert _value(found.untouched_good) >= 1 - 2 * report.options.alpha
    assert _within(found.bad_base_exact, found.bad_base)
    assert _within(found.bad_exact, found.bad)


def test_abstention_answers_better_for_fewer_tokens(report: DemoReport) -> None:
    """Few of those that were ended would have been good."""
    found = report.abstention

    assert _value(found.accuracy) > _value(found.accuracy_base)
    assert _value(found.good_withheld) <= report.options.abstain_reward
    assert found.saved_tokens > 0.2
    assert found.net_saved_tokens is not None
    assert 0 < found.net_saved_tokens < found.saved_tokens


def test_the_head_is_near_the_exact_value(report: DemoReport) -> None:
    """It ranks nearly as well as anything can."""
    head = report.head

    assert head.auroc is not None
    assert head.auroc_exact is not None
    assert head.auroc > head.auroc_exact - 0.1
    assert head.mean_error < 0.15


def test_the_bound_is_checked_at_every_level(report: DemoReport) -> None:
    """What is counted on fresh texts agrees with what is enumerated."""
    assert [row.alpha for row in report.bound] == [0.01, 0.05, 0.1, 0.2, 0.25]
    for row in report.bound:
        assert _within(row.touched_exact, row.touched)
        # On average it is at most alpha; three deviations of one set of some 150 good texts.
        assert row.touched_exact <= row.alpha + 3 * (row.alpha * (1 - row.alpha) / 100) ** 0.5


def test_the_head_is_one_that_serves(report: DemoReport) -> None:
    """It states its polarity and carries both curves that the configuration asks for."""
    card = load_value_head(report.options.head_file).card

    assert card.scores is Polarity.P_GOOD
    assert card.curve("alpha") is not None
    assert card.curve("abstain_reward") is not None


def test_a_report_prints_and_draws(report: DemoReport) -> None:
    """Every figure is in words, and the picture is a PNG."""
    console = Console(file=io.StringIO(), width=120)

    show(report, console)

    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert "bad texts, filtered" in printed
    assert WORKER in printed.replace("\n", "")
    assert (report.options.folder / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_that_there_is_no_picture(
    report: DemoReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is printed all the same."""
    monkeypatch.setattr(plot, "find_spec", lambda _: None)
    console = Console(file=io.StringIO(), width=120)

    show(report, console)

    assert isinstance(console.file, io.StringIO)
    assert "no picture: matplotlib is not installed" in console.file.getvalue()


def test_the_seed_decides(tmp_path: Path) -> None:
    """The same figures again, and others with another seed."""
    tiny = {**SMALL, "model_steps": 10, "training": 100, "calibration": 100, "fresh": 100}
    runs = [
        run_demo(DemoOptions(folder=tmp_path / name, seed=seed, **{**tiny, "served": 3}))
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]

    first, again, other = (replace(run, options=runs[0].options, stages=()) for run in runs)
    assert first == again
    assert first.bound != other.bound


def test_the_engine_is_asked_for_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, before anything is trained."""
    monkeypatch.setattr("value_steer.demo.options.find_spec", lambda _: None)

    assert DemoOptions().backend is Backend.REFERENCE
    with pytest.raises(DemoError, match="vLLM is not installed"):
        run_demo(DemoOptions(folder=tmp_path / "new", backend=Backend.VLLM))
    assert not (tmp_path / "new").exists()


def test_an_engine_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the end of its log; vLLM's place is taken by an interpreter that knows no modules."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    job = Job("model", [[1]], [0], 4, {})

    with pytest.raises(DemoError, match="exit code 1"):
        serving.serve(job, Backend.VLLM, None)


def test_a_job_travels_as_json() -> None:
    """What steers is passed on as a user would write it."""
    section = {"vfd": {"value_head_path": "head", "alpha": 0.05}}
    job = Job.from_json(Job("model", [[1, 2]], [0], 4, section).to_json())

    assert job.steering == {"worker_cls": WORKER, "additional_config": section}
    assert serving.unsteered(job, Backend.VLLM).steering == {}


def test_an_ended_response_is_told_from_a_finished_one() -> None:
    """It is the beginning of the other and one more token."""
    base = [[5, 6, 7, 2]] * 4
    pairs = Pairs([[1]] * 4, base, [[5, 6, 2], [5, 6, 7, 2], [2], [5, 9, 2]])

    assert [pairs.was_ended(at) for at in range(4)] == [True, False, True, False]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.0}, "alpha = 0.0 must be between 0 and 1"),
        ({"served": 5000}, "served = 5000 must be from 1 to fresh"),
        ({"training": 9000}, "must be at most 10000"),
        ({"model_steps": 1, "seed": -1}, "seed = -1 .*; model_steps = 1"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    """All of them at once."""
    with pytest.raises(SettingsError, match=message):
        DemoOptions(**settings)


def _value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def _within(exact: float, estimate: Estimate) -> bool:
    """Whether a probability is in the interval, which is widened for the number of checks."""
    assert estimate.low is not None
    assert estimate.high is not None
    slack = (estimate.high - estimate.low) / 2
    return estimate.low - slack <= exact <= estimate.high + slack


def test_tokens_are_counted_for_each_good_text_that_is_delivered() -> None:
    """An ended good text was paid for and is not delivered; the ending token is nobody's text."""
    good, bad = [HARBOUR, MOORED, 2], [WRECK, ADRIFT, ADRIFT, 2]
    base = [good, good, bad, bad]
    pairs = Pairs([[1]] * 4, base, [good, [HARBOUR, 2], [2], [WRECK, 2]])
    found = abstain_figures(pairs)

    # 14 tokens for two good texts, 3 + 1 + 0 + 1 for one
    assert found.saved_tokens == pytest.approx(1 - 5 / 14)
    assert found.net_saved_tokens == pytest.approx(1 - 5 / (14 / 2))


def test_a_price_per_good_text_needs_one() -> None:
    """If all were ended nothing was delivered, at whatever price."""
    pairs = Pairs([[1]], [[HARBOUR, 2]], [[2]])

    assert abstain_figures(pairs).net_saved_tokens is None
