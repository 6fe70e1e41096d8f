"""The check of all rows: which are asked, what a finding says, and what follows for a runner."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from tests.contracts.contract_trees import MemoryTree
from value_steer.contracts import checker
from value_steer.contracts.lookup import Sources
from value_steer.contracts.needs import Exists, IsClass, Order, Parameters
from value_steer.contracts.report import Finding, Report, Status
from value_steer.contracts.sources.bounded import LARGEST_SOURCE
from value_steer.contracts.surface import Mode, Runner, Surface

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Symbol
    from value_steer.contracts.needs import Need

V1, V2 = Runner.V1, Runner.V2
ABSTAIN, VFD = Mode.ABSTAIN, Mode.VFD


@dataclass(frozen=True)
class Bottomless:
    """A need that looks deeper than Python goes."""

    def problem(self, symbol: Symbol, sources: Sources) -> str | None:
        """Look on."""
        return self.problem(symbol, sources)


def row(
    name: str,
    modes: tuple[Mode, ...] = (ABSTAIN, VFD),
    runners: tuple[Runner, ...] = (V1, V2),
    since: str | None = None,
    need: Need | None = None,
) -> Surface:
    """A row on the name ``X`` of a file."""
    return Surface(
        id=name,
        path="vllm/a.py",
        symbol="X",
        need=need or Exists(),
        runners=frozenset(runners),
        modes=frozenset(modes),
        used_by="value_steer.engine.f",
        why="It is asked.",
        since=since,
    )


EVERYWHERE = row("everywhere")
ABSTAIN_V1 = row("abstain.v1", (ABSTAIN,), (V1,))
VFD_V2 = row("vfd.v2", (VFD,), (V2,))
LATER_V2 = row("later.v2", (ABSTAIN,), (V2,), since="0.26")
ROWS = (EVERYWHERE, ABSTAIN_V1, VFD_V2, LATER_V2)
DEFINES = "X = 1"


@pytest.mark.parametrize(
    ("modes", "runners", "version", "asked"),
    [
        ((ABSTAIN,), (V1,), "0.26.0", (EVERYWHERE, ABSTAIN_V1)),
        ((ABSTAIN,), (V2,), "0.26.0", (EVERYWHERE, LATER_V2)),
        ((ABSTAIN,), (V2,), "0.25.1", (EVERYWHERE,)),
        ((VFD,), (V1,), "0.26.0", (EVERYWHERE,)),
        ((VFD,), (V2,), "0.26.0", (EVERYWHERE, VFD_V2)),
        ((ABSTAIN, VFD), (V1, V2), "0.25.1", (EVERYWHERE, ABSTAIN_V1, VFD_V2)),
        ((ABSTAIN, VFD), (V1, V2), None, ROWS),
        ((), (V1, V2), "0.26.0", ()),
        ((ABSTAIN, VFD), (), "0.26.0", ()),
    ],
)
def test_a_row_is_asked_where_its_mode_and_its_runner_are(
    modes: tuple[Mode, ...],
    runners: tuple[Runner, ...],
    version: str | None,
    asked: tuple[Surface, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of releases that are to have it; the report says what was asked of what, and how long."""
    monkeypatch.setattr(checker, "SURFACES", ROWS)
    tree = MemoryTree({"vllm/a.py": DEFINES}, version)

    started = time.perf_counter()
    report = checker.check(tree, iter(modes), iter(runners))
    took = time.perf_counter() - started
    findings = tuple(Finding(surface, Status.OK) for surface in asked)
    assert report == Report(version, modes, runners, findings, report.seconds)
    assert 0 <= report.seconds <= took


@pytest.mark.parametrize(
    ("since", "version", "asked"),
    [
        (None, "0.1.0", True),
        ("0.26", None, True),
        ("0.26", "0.25.9", False),
        ("0.26", "0.26", True),
        ("0.26", "0.26.0", True),
        ("0.26.0", "0.26", True),
        ("0.26", "0.26.0rc1", True),
        ("0.26", "0.100.0+cpu", True),
    ],
)
def test_a_row_is_asked_of_its_first_release_on(
    since: str | None,
    version: str | None,
    asked: bool,  # noqa: FBT001
) -> None:
    """Candidates of that release are to have it, and so is a vLLM that was not released."""
    assert row("since", since=since).is_asked_of(version) is asked


@pytest.mark.parametrize(
    ("need", "text", "status", "detail"),
    [
        (Exists(), "X = 1", Status.OK, ""),
        (IsClass(), "X = 1", Status.BROKEN, "needs a class; found a variable"),
        (Exists(), None, Status.MISSING_FILE, "vllm/a.py is not in this tree"),
        (Exists(), "Y = 1", Status.MISSING_SYMBOL, "vllm/a.py does not define X"),
        (
            Exists(),
            "#" * (LARGEST_SOURCE + 1),
            Status.UNREADABLE,
            f"vllm/a.py cannot be parsed: it has more than {LARGEST_SOURCE:,} characters",
        ),
        (Bottomless(), "X = 1", Status.UNREADABLE, "vllm/a.py is nested too deeply"),
    ],
    ids=["ok", "broken", "no file", "no symbol", "unreadable", "too deep"],
)
def test_a_finding_names_its_row_and_what_is_wrong(
    need: Need, text: str | None, status: Status, detail: str
) -> None:
    """Nothing that is found raises."""
    surface = row("a", need=need)
    sources = Sources(MemoryTree({} if text is None else {"vllm/a.py": text}))

    found = checker.examine(surface, sources)
    assert found == Finding(surface, status, detail)
    assert found.ok is (status is Status.OK)


def report(*findings: Finding, runners: tuple[Runner, ...] = (V1, V2)) -> Report:
    """A report of these findings."""
    return Report("0.26.0", (ABSTAIN, VFD), runners, findings, 1.23456)


GOOD = Finding(EVERYWHERE, Status.OK)
GOOD_V1 = Finding(ABSTAIN_V1, Status.OK)
BAD_V1 = Finding(ABSTAIN_V1, Status.BROKEN, "needs a class; found a variable")
GOOD_V2 = Finding(VFD_V2, Status.OK)
BAD_V2 = Finding(VFD_V2, Status.MISSING_FILE, "vllm/a.py is not in this tree")


@pytest.mark.parametrize(
    ("found", "v1", "v2"),
    [
        (report(GOOD, GOOD_V1, GOOD_V2), True, True),
        (report(GOOD, GOOD_V1, BAD_V2), True, False),
        (report(GOOD, BAD_V1, GOOD_V2), False, True),
        (report(GOOD, BAD_V1, BAD_V2), False, False),
        (report(GOOD_V1), True, False),
        (report(), False, False),
    ],
    ids=["all", "v1", "v2", "none", "no row on v2", "no row"],
)
def test_a_vllm_holds_on_a_runner_on_which_all_rows_do(found: Report, v1: bool, v2: bool) -> None:  # noqa: FBT001
    """One runner is enough; a runner of which nothing was asked proves nothing."""
    assert (found.holds(V1), found.holds(V2), found.ok) == (v1, v2, v1 or v2)


def test_a_runner_that_was_not_asked_about_makes_no_vllm_good() -> None:
    """The other runner's rows do not count."""
    assert not report(GOOD, BAD_V1, GOOD_V2, runners=(V1,)).ok


def test_a_report_tells_the_rows_of_a_runner_and_those_that_do_not_hold() -> None:
    """In the order of the rows."""
    found = report(GOOD, BAD_V1, GOOD_V2, BAD_V2)

    assert found.on(V1) == (GOOD, BAD_V1)
    assert found.on(V2) == (GOOD, GOOD_V2, BAD_V2)
    assert found.broken == (BAD_V1, BAD_V2)


def test_a_report_is_plain_json() -> None:
    """Other programs read the names of its members."""
    assert report(GOOD, BAD_V1).to_json() == {
        "version": "0.26.0",
        "ok": True,
        "modes": ["abstain", "vfd"],
        "runners": {"v1": False, "v2": True},
        "seconds": 1.235,
        "findings": [
            {
                "id": "everywhere",
                "status": "ok",
                "detail": "",
                "path": "vllm/a.py",
                "symbol": "X",
                "modes": ["abstain", "vfd"],
                "runners": ["v1", "v2"],
                "used_by": "value_steer.engine.f",
                "why": "It is asked.",
            },
            {
                "id": "abstain.v1",
                "status": "broken",
                "detail": "needs a class; found a variable",
                "path": "vllm/a.py",
                "symbol": "X",
                "modes": ["abstain"],
                "runners": ["v1"],
                "used_by": "value_steer.engine.f",
                "why": "It is asked.",
            },
        ],
    }


RUNNER = (
    "class GPUModelRunner:\n    def sample(self, a):\n        self.mask()\n        self.draw()\n"
)
PATHS = ("vllm/v1/worker/gpu_model_runner.py", "vllm/v1/worker/cpu_model_runner.py")


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("pass", True),
        ("def other(self): ...", True),
        ("def sample(self, a): return super().sample(a)", True),
        ("def sample(self, a):\n        self.mask()\n        self.draw()", True),
        ("def sample(self, a):\n        self.draw()\n        self.mask()", False),
        ("def sample(self, a): return self.fused(a)", False),
    ],
)
def test_a_row_holds_in_the_class_that_is_made(body: str, holds: bool) -> None:  # noqa: FBT001
    """A CPU makes a class of its own of the one that a row speaks of."""
    path, cpu = PATHS
    derived = f"from {path[:-3].replace('/', '.')} import GPUModelRunner\n"
    derived += f"class CPUModelRunner(GPUModelRunner):\n    {body}\n"
    need = Order("self.mask", "self.draw")
    asked = replace(row("a"), path=path, symbol="GPUModelRunner.sample", need=need)

    found = checker.examine(asked, Sources(MemoryTree({path: RUNNER, cpu: derived})))

    assert found.status is (Status.OK if holds else Status.BROKEN)
    assert holds or found.detail.startswith(f"CPUModelRunner in {cpu}: needs self.mask()")


def test_a_signature_must_hold_there_though_the_method_calls_the_other() -> None:
    """It is this one that is called."""
    path, cpu = PATHS
    derived = f"from {path[:-3].replace('/', '.')} import GPUModelRunner\n"
    derived += "class CPUModelRunner(GPUModelRunner):\n"
    derived += "    def sample(self, a, b): return super().sample(a)\n"
    asked = replace(row("a"), path=path, symbol="GPUModelRunner.sample", need=Parameters(("a",)))

    found = checker.examine(asked, Sources(MemoryTree({path: RUNNER, cpu: derived})))

    assert found.detail == f"CPUModelRunner in {cpu}: needs (a); found (a, b)"


@pytest.mark.parametrize("version", ["dev", "0.28.0-dirty-build", ""])
def test_a_version_of_somebody_s_own_is_asked_everything(version: str) -> None:
    """It cannot be said which release it is like."""
    assert row("a", since="0.26").is_asked_of(version)
