"""What a soak keeps of its run, and what its report says of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.soak import report
from benchmarks.soak.census import census
from benchmarks.soak.client import Answer
from benchmarks.soak.record import SHOWN, Change, Record, Sample, Usage
from benchmarks.soak.schedule import CYCLE, Arrival, Template

if TYPE_CHECKING:
    from pathlib import Path

_FIXED = Template(0, "own", {"stream": True}, follows=False)
_FOLLOWS = Template(1, "default", {"stream": True}, follows=True)
_ARRIVAL = Arrival(3, 0, None, 40, None)
_TOLD: dict[str, Any] = {"outcome": "steered", "unscored": 0}


def _answer(pair: int, **changes: Any) -> Answer:
    applied = ((0.5, 0.5), (0.4, None), (None, 0.6))[pair]
    told = {**_TOLD, "threshold": applied[0], "vfd_threshold": applied[1]}
    base = Answer(tokens=[5, 6], finish="length", told=told, started=10.0, ended=11.0)
    return replace(base, **changes)


@pytest.fixture
def record() -> Record:
    """Of a server whose thresholds were changed from the first to the second at 20 s."""
    found = Record(seed=1, commit="abc", settings={"plain": False})
    found.changes = [Change(0, 0.0, 0.1), Change(1, 20.0, 20.1)]
    found.alone = {(0, None): _answer(0)}
    found.alone |= {(1, pair): _answer(pair, tokens=[5, 6 + pair]) for pair in range(3)}
    return found


def test_an_answer_is_compared_under_the_thresholds_that_applied(record: Record) -> None:
    """Each pair of the server's thresholds has its own."""
    record.take(_ARRIVAL, _FOLLOWS, _answer(0))
    record.take(_ARRIVAL, _FOLLOWS, _answer(1, tokens=[5, 7], started=30.0, ended=31.0))
    assert not record.failed

    record.take(_ARRIVAL, _FOLLOWS, _answer(1, tokens=[5, 6], started=30.0, ended=31.0))
    assert record.failed == {"difference": 1}
    assert record.compared == 3


@pytest.mark.parametrize(("started", "ended", "broken"), [(10, 11, True), (10, 20.05, False)])
def test_thresholds_apply_from_when_they_were_sent(
    record: Record, started: float, ended: float, *, broken: bool
) -> None:
    """Not before; and those of before until the server has said that it has taken them."""
    record.take(_ARRIVAL, _FOLLOWS, _answer(1, tokens=[5, 7], started=started, ended=ended))

    assert record.failed == ({"threshold": 1} if broken else {})


def test_thresholds_that_nobody_set_are_a_failure(record: Record) -> None:
    """Whatever else the answer says."""
    told = {**_TOLD, "threshold": 0.1, "vfd_threshold": None}
    record.take(_ARRIVAL, _FOLLOWS, _answer(0, told=told))

    assert record.failed == {"threshold": 1}


def test_an_answer_without_an_outcome_is_a_failure(record: Record) -> None:
    """Unless its client has gone, or it was refused."""
    record.take(_ARRIVAL, _FIXED, _answer(0, told=None, finish=None))
    assert not record.failed

    record.take(_ARRIVAL, _FIXED, _answer(0, told=None))
    assert record.failed["without outcome"] == 1


def test_a_failure_says_how_to_replay_it(record: Record) -> None:
    """Seed, commit, how many requests; of many the first are kept, and all counted."""
    for _ in range(SHOWN + 5):
        record.take(_ARRIVAL, _FIXED, _answer(0, tokens=[7]))

    first = record.shown["difference"][0]
    assert f"--seed 1 --requests {3 + CYCLE} at abc" in first
    assert "request 3, template 0 (own)" in first
    assert (record.failed["difference"], len(record.shown["difference"])) == (55, SHOWN)


def test_a_report_is_whole_at_any_time(record: Record, tmp_path: Path) -> None:
    """Also before anything was asked; and a broken gate is in it."""
    path = tmp_path / "report.json"
    report.write(record, path, gates := report.gates_of(record))
    assert {gate.verdict for gate in gates} == {"not shown"}

    record.take(_ARRIVAL, _FIXED, _answer(0, tokens=[7]))
    report.write(record, path, report.gates_of(record))

    told = json.loads(path.read_text("utf-8"))
    assert {g["name"]: g["verdict"] for g in told["gates"]}["answers as alone"] == "broken"
    assert told["failures"]["difference"]["count"] == 1
    assert (told["requests"], told["commit"], told["ended"]) == (1, "abc", "running")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "metric", ["value_steer_swallowed_errors_total", "value_steer_unscored_tokens_total"]
)
def test_an_error_that_the_engine_counted_breaks_a_gate(record: Record, metric: str) -> None:
    """Though every answer looked well."""
    record.take(_ARRIVAL, _FIXED, _answer(0))
    record.metrics = {metric: 1.0}

    assert {g.name: g.verdict for g in report.gates_of(record)}["errors"] == "broken"


def test_the_load_must_have_done_what_it_is_for(record: Record) -> None:
    """A soak in which nothing was preempted has not shown what preemption does."""
    record.kinds.update({"hung up": 1, "wrong 400": 1})
    record.metrics, record.asynchronous = {"vllm:num_preemptions_total": 3.0}, True
    assert {g.name: g.verdict for g in report.gates_of(record)}["load"] == "held"

    record.metrics = {}
    assert {g.name: g.verdict for g in report.gates_of(record)}["load"] == "not shown"


def test_processor_time_is_told_by_the_token() -> None:
    """It stays, where the machine is busy with other work."""
    samples = [
        Sample(n, 100 * n, float(n), 0.5 * n, 0.1 * n, float(n), [Usage("Worker", 1, 0.2 * n)])
        for n in range(31)
    ]

    first, _, last = report.thirds(samples, warm=1)

    assert first.cost == pytest.approx(2.0)
    assert first.others == pytest.approx(0.2)
    assert last.load == pytest.approx(25.5)
    assert report.thirds(samples[:4], warm=1) == []


class _Holder:
    def __init__(self) -> None:
        self.held = [1, 2, 3]


def test_a_census_counts_objects_and_what_they_hold() -> None:
    """Of one package; what is gone is not counted."""
    name = f"{_Holder.__module__}.{_Holder.__qualname__}"
    package = __name__.partition(".")[0]
    before = census(package).get(name, 0)
    kept = [_Holder(), _Holder()]

    found = census(package)
    assert found[name] == before + 2
    assert found[f"{name}.held"] == 6

    del kept
    assert census(package).get(name, 0) == before
