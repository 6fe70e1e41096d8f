"""``python -m compat bisect`` on registries of made-up evidence."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from compat import cli
from compat.cell import pipeline, recording
from compat.cell.services import Services
from compat.checkout import ROOT
from compat.errors import ExitCode, InfraError
from compat.isolate import Choice
from compat.registry import store
from tests.compat.cells import FakeIsolation
from tests.compat.samples import CELL, FAILED, PASSED, VOID
from value_steer import versions
from value_steer.contracts.history import releases
from value_steer.contracts.history.releases import Sweep
from value_steer.contracts.history.snapshot import ContractState, Snapshot
from value_steer.contracts.report import Status
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError
from value_steer.registry.model import Cause, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.cell.target import RunTarget
    from value_steer.registry.rows import Row

PACKAGE = replace(PASSED.package, engine_digest=versions.engine_digest(ROOT / "value_steer"))
RELEASES = ("0.19.0", "0.19.1", "0.20.0", "0.20.1")


def good(version: str, **changes: Any) -> Row:
    """A passed row of a release."""
    return replace(PASSED, cell=replace(CELL, vllm=version), package=PACKAGE, **changes)


def bad(version: str, **changes: Any) -> Row:
    """A failed row of a release."""
    return replace(FAILED, cell=replace(CELL, vllm=version), package=PACKAGE, **changes)


def sweep(broken: bool) -> Sweep:  # noqa: FBT001
    """Two releases that differ in one contract."""
    row = "sampler_output.fields"
    states = [ContractState(row, Status.OK, "", "fields a, b")]
    states.append(
        ContractState(row, Status.BROKEN, "needs b", "fields a")
        if broken
        else ContractState(row, Status.OK, "", "fields a, c")
    )
    rules = (RunnerDefault(Rule.V1), RunnerDefault(Rule.V2))
    history = tuple(
        Snapshot(version, rule, (state,))
        for version, rule, state in zip(RELEASES[1:3], rules, states, strict=True)
    )
    return Sweep((Mode.ABSTAIN,), history, (), (Runner.V1,))


Bisect: TypeAlias = "Callable[..., tuple[int, str]]"


@pytest.fixture
def bisect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bisect:
    """Bisects a registry of some rows; returns the exit code and what was said."""
    registry = tmp_path / "registry.json"
    monkeypatch.setattr(releases, "run", lambda *_: sweep(broken=True))

    def command(*rows: Row, options: tuple[str, ...] = ("--mode", "abstain")) -> tuple[int, str]:
        registry.write_text(store.render(rows), encoding="utf-8")
        ends = ("--good", RELEASES[0], "--bad", RELEASES[-1])
        place = ("--out", str(tmp_path / "out"))
        arguments = ["--registry", str(registry), "bisect", *ends, *place, *options]
        services = Services(
            device=lambda: "cpu", choose=lambda *_, **__: Choice(FakeIsolation(), "")
        )
        code = cli.main(arguments, services)
        return code, " ".join(capsys.readouterr().out.split())

    return command


def test_the_first_bad_release_is_named_with_what_differs(
    bisect: Bisect,
) -> None:
    """The verdict, the torch that came with it, and the contracts that changed."""
    torch = replace(FAILED.environment, torch="2.14.0+cpu")
    code, text = bisect(good("0.19.1"), bad("0.20.0", environment=torch))

    assert code == ExitCode.PASSED
    assert "the first bad release is 0.20.0; 0.19.1 is good" in text
    assert "0.20.0, abstain: failed (behaviour): 1 of 3 tests failed" in text
    assert "torch 2.13.0+cpu → 2.14.0+cpu" in text
    assert "1 of " in text
    assert "changed in 0.20.0: default model runner: v1 → v2" in text
    assert "sampler_output.fields: fields a, b → broken (fields a) [must change: value_" in text


def test_a_gap_in_the_evidence_is_a_range(bisect: Bisect) -> None:
    """What says nothing decides nothing, and the answer says how far it reaches."""
    void = replace(VOID, cell=replace(CELL, vllm="0.19.1"), package=PACKAGE)
    code, text = bisect(void, bad("0.20.0"))

    assert code == ExitCode.NO_EVIDENCE
    assert "the first bad release is after 0.19.0 and not after 0.20.0" in text
    assert "no verdict on 0.19.1" in text


def test_evidence_of_other_code_counts_only_if_it_is_asked_for(
    bisect: Bisect,
) -> None:
    """What another engine did may be the engine's doing."""
    rows = [replace(good("0.19.1"), package=PASSED.package), bad("0.20.0")]

    assert bisect(*rows)[0] == ExitCode.NO_EVIDENCE
    assert bisect(*rows, options=("--mode", "abstain", "--any-code"))[0] == ExitCode.PASSED


def test_bad_in_one_mode_is_bad_and_good_needs_both(
    bisect: Bisect,
) -> None:
    """Without a mode every mode counts."""
    half = good("0.19.1")
    vfd = replace(half, cell=replace(half.cell, mode="vfd"))

    assert bisect(half, bad("0.20.0"), options=())[0] == ExitCode.NO_EVIDENCE
    assert bisect(half, vfd, bad("0.20.0"), options=())[0] == ExitCode.PASSED


def test_a_release_that_is_good_again_is_named(bisect: Bisect) -> None:
    """Evidence that is not of one piece is told."""
    _, text = bisect(bad("0.19.1"), good("0.20.0"))

    assert "the first bad release is 0.19.1" in text
    assert "0.20.0 is good again" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([bad("0.19.0")], "--good 0.19.0: the registry says that it is bad"),
        ([good("0.20.1")], "--bad 0.20.1: the registry says that it is good"),
    ],
)
def test_an_end_that_the_registry_contradicts_is_refused(
    rows: list[Row], message: str, bisect: Bisect
) -> None:
    """An answer between wrong ends would be wrong."""
    code, text = bisect(*rows)

    assert code == ExitCode.USAGE
    assert message in text


@pytest.mark.parametrize("option", [("--async",), ("--lane", "cpu-async")])
def test_an_asynchronous_lane_has_a_first_bad_release_of_its_own(
    option: tuple[str, ...], bisect: Bisect
) -> None:
    """What is known of the CPU's other lane says nothing of it."""
    there = replace(CELL, lane="cpu-async")
    rows = [
        good("0.19.1"),
        good("0.20.0"),
        replace(good("0.19.1"), cell=replace(there, vllm="0.19.1")),
        replace(bad("0.20.0"), cell=replace(there, vllm="0.20.0")),
    ]

    code, text = bisect(*rows, options=("--mode", "abstain", *option))

    assert code == ExitCode.PASSED
    assert "cpu-async, runner v1, abstain: the first bad release is 0.20.0" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--good", "0.28", "--bad", "0.27"), "must be older"),
        (("--lane", "tpu"), "no tpu build"),
        (("--lane", "cpu", "--async"), "the lane cpu does not schedule asynchronously"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    options: tuple[str, ...], message: str, bisect: Bisect
) -> None:
    """Ends in the wrong order, or a lane without builds."""
    code, text = bisect(options=options)

    assert code == ExitCode.USAGE
    assert message in text


def test_without_an_index_the_answer_stands(
    bisect: Bisect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contracts that cannot be read cost their comparison only."""

    def no_network(*_: object) -> Sweep:
        msg = "the index does not answer"
        raise ContractError(msg)

    monkeypatch.setattr(releases, "run", no_network)
    code, text = bisect(good("0.19.1"), bad("0.20.0"))

    assert code == ExitCode.PASSED
    assert "the contracts were not compared: the index does not answer" in text


def test_missing_cells_are_run(bisect: Bisect, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --run what is not known is found out and recorded; trouble of the machine is a gap."""
    asked = []

    def run(target: RunTarget, *_: object) -> str:
        asked.append(target.vllm)
        if target.vllm == "0.20.0":
            msg = "the disk is full"
            raise InfraError(msg)
        return target.vllm

    monkeypatch.setattr(pipeline, "run", run)
    monkeypatch.setattr(recording, "rows", lambda version: (good(version),))
    code, text = bisect(options=("--mode", "abstain", "--run"))

    assert sorted(asked) == ["0.19.1", "0.20.0"]
    assert "0.20.0 cannot be decided: the disk is full" in text
    assert "0.19.1 is good" in text
    assert code == ExitCode.NO_EVIDENCE
    assert "is after 0.19.1 and not after 0.20.1" in text


def test_failed_tests_are_read_from_the_report_that_the_row_rests_on(
    bisect: Bisect, tmp_path: Path
) -> None:
    """A report that is not the row's own says nothing about it."""
    folder = tmp_path / "out" / "0.20.0-cpu"
    folder.mkdir(parents=True)
    report = folder / "suite.xml"
    report.write_text(
        '<testsuites><testsuite tests="2"><testcase classname="a" name="good" time="0.1"/>'
        '<testcase classname="a" name="sad" time="0.1"><failure message="no"/></testcase>'
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    digest = hashlib.sha256(report.read_bytes()).hexdigest()
    row = bad("0.20.0", report_sha256=digest, cause=Cause.BEHAVIOUR, verdict=Verdict.FAILED)

    assert "failed: a.py::sad" in bisect(good("0.19.1"), row)[1]
    assert "failed: a.py" not in bisect(good("0.19.1"), replace(row, report_sha256="0" * 64))[1]
