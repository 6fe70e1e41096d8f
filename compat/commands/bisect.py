"""``python -m compat bisect``: the first bad release, and what makes it differ from a good one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat import lanes
from compat.axes import MODES, RUNNERS
from compat.cell import junit, pipeline, recording
from compat.cell.junit import CaseOutcome
from compat.cell.resolution import resolve
from compat.cell.target import RunRequest
from compat.cell.verdict import REQUIRED_SENTINELS
from compat.checkout import ROOT
from compat.commands.options import add_async, add_place
from compat.errors import ExitCode, InfraError, ReportError, UsageError
from compat.registry import store
from compat.release import bisection
from compat.release.bisection import State
from compat.releases.candidates import select_release
from value_steer import versions
from value_steer.cli.arguments.types import TEXT, VERSION
from value_steer.cli.places import OUTPUT_FOLDER
from value_steer.contracts.history import releases, text
from value_steer.contracts.history.changes import default_changes
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError
from value_steer.registry.model import Cell, Verdict

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from compat.cell.services import Services
    from compat.commands.options import Menu
    from compat.console import Progress
    from compat.release.bisection import Span
    from compat.releases.candidates import Candidate
    from value_steer.registry.rows import Row


@dataclass(frozen=True, slots=True)
class Question:
    """The question of a bisection.

    Attributes:
        releases: From one that is good to one that is bad, oldest first.
        lane: Where.
        runner: On which model runner.
        modes: For which modes; bad in one of them is bad.
        engine_digest: The code whose evidence counts; ``None`` for any.
    """

    releases: tuple[Candidate, ...]
    lane: str
    runner: str
    modes: tuple[str, ...]
    engine_digest: str | None

    def row(self, release: Candidate, mode: str, rows: Sequence[Row]) -> Row | None:
        """The row that holds for a release in a mode."""
        own = [r for r in rows if self.engine_digest in (None, r.package.engine_digest)]
        return versions.decide(own, Cell(str(release.version), self.lane, self.runner, mode))

    def outcome(self, release: Candidate, rows: Sequence[Row]) -> State:
        """The state of a release by its rows."""
        verdicts = [row and row.verdict for row in (self.row(release, m, rows) for m in self.modes)]
        if any(verdict not in (None, Verdict.PASSED) for verdict in verdicts):
            return State.BAD
        return State.UNKNOWN if None in verdicts else State.GOOD


def add(menu: Menu) -> None:
    """Put the command on the menu."""
    bisect = menu.add_parser("bisect", help="name the first bad release between a good and a bad")
    bisect.add_argument(
        "--good", type=VERSION, required=True, metavar="VERSION", help="a release that is good"
    )
    bisect.add_argument(
        "--bad", type=VERSION, required=True, metavar="VERSION", help="a later one that is bad"
    )
    bisect.add_argument("--mode", choices=MODES, help="one mode; else bad in any")
    bisect.add_argument(
        "--runner", choices=RUNNERS, default=Runner.V1.value, help="the model runner"
    )
    bisect.add_argument(
        "--lane", type=TEXT, help="the lane; the one of this machine if it is not given"
    )
    bisect.add_argument("--run", action="store_true", help="run the cells that are not known yet")
    bisect.add_argument(
        "--any-code", action="store_true", help="evidence of other code of value-steer counts too"
    )
    add_async(bisect)
    add_place(bisect)
    bisect.set_defaults(command=find_first_bad, places={"--out": OUTPUT_FOLDER})


def find_first_bad(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Find the first bad release, and say what differs from the last good one."""
    question = _question(arguments)
    rows = store.load_all(arguments.registry)
    known = [question.outcome(release, rows) for release in question.releases]
    _refuse_contradictions(question, known)

    def probe(at: int) -> State:
        return _try(question, at, arguments, progress) if arguments.run else State.UNKNOWN

    found = bisection.search(known, probe)
    rows = store.load_all(arguments.registry)
    for line in (*_answer(question, found), *_tests(question, found, rows, arguments.out)):
        progress.note(line)
    try:
        for line in _contracts(question, found):
            progress.note(line)
    except ContractError as error:
        progress.problem(f"the contracts were not compared: {error}")
    return ExitCode.NO_EVIDENCE if found.undecided else ExitCode.PASSED


def _question(arguments: argparse.Namespace) -> Question:
    services: Services = arguments.services
    lane = _lane(arguments)
    candidates = services.candidates()
    good, bad = (select_release(name, candidates) for name in (arguments.good, arguments.bad))
    if good.version >= bad.version:
        msg = f"--good {good.version} must be older than --bad {bad.version}"
        raise UsageError(msg)
    for end in (good, bad):
        end.build(lane)
    family = lanes.family(lane)
    between = [c for c in candidates if good.version <= c.version <= bad.version]
    return Question(
        releases=tuple(c for c in between if any(b.lane == family for b in c.builds)),
        lane=lane,
        runner=arguments.runner,
        modes=(arguments.mode,) if arguments.mode else tuple(sorted(REQUIRED_SENTINELS)),
        engine_digest=None if arguments.any_code else versions.engine_digest(ROOT / "value_steer"),
    )


def _lane(arguments: argparse.Namespace) -> str:
    """The lane that is named, whichever machine this is, or else the one of this machine."""
    services: Services = arguments.services
    chosen = arguments.asynchronous
    if arguments.lane is None:
        return str(lanes.of(services.device(), arguments.runner, asynchronous=chosen))
    named = lanes.parse(arguments.lane)
    if chosen and not named.asynchronous:
        msg = f"--async: the lane {named} does not schedule asynchronously; name one that does"
        raise UsageError(msg)
    return str(named)


def _refuse_contradictions(question: Question, known: Sequence[State]) -> None:
    for at, option, wrong in ((0, "--good", State.BAD), (-1, "--bad", State.GOOD)):
        if known[at] is wrong:
            version = question.releases[at].version
            msg = f"{option} {version}: the registry says that it is {wrong.value}"
            raise UsageError(msg)


def _try(question: Question, at: int, arguments: argparse.Namespace, progress: Progress) -> State:
    """Run the cells of a release and record them; trouble of this machine decides nothing."""
    release = question.releases[at]
    services: Services = arguments.services
    request = RunRequest(
        str(release.version),
        arguments.isolation,
        arguments.out.resolve(),
        arguments.runner,
        question.lane,
    )
    try:
        rows = recording.rows(pipeline.run(resolve(request, services), services, progress))
    except InfraError as error:
        progress.problem(f"{release.version} cannot be decided: {error}")
        return State.UNKNOWN
    store.append(arguments.registry, rows)
    found = question.outcome(release, rows)
    progress.note(f"{release.version} is {found.value}")
    return found


def _answer(question: Question, found: Span) -> Iterator[str]:
    good, bad = (question.releases[at].version for at in (found.good, found.bad))
    where = f"{question.lane}, runner {question.runner}, {' and '.join(question.modes)}"
    if found.undecided:
        unknown = ", ".join(str(question.releases[at].version) for at in found.undecided)
        yield f"{where}: the first bad release is after {good} and not after {bad}"
        yield f"no verdict on {unknown} from this code of value-steer; --run finds out"
    else:
        yield f"{where}: the first bad release is {bad}; {good} is good"
    for at in found.recovered:
        yield f"{question.releases[at].version} is good again"


def _tests(question: Question, found: Span, rows: Sequence[Row], out: Path) -> Iterator[str]:
    """Why the bad release is bad: its verdict, and the tests that the good one passed."""
    for mode in question.modes:
        good, bad = (
            question.row(question.releases[i], mode, rows) for i in (found.good, found.bad)
        )
        if bad is None or bad.verdict is Verdict.PASSED:
            continue
        why = f" ({bad.cause.value})" if bad.cause else ""
        yield f"{bad.cell.vllm}, {mode}: {bad.verdict.value}{why}: {bad.reason}"
        yield from (
            f"  failed: {test}" for test in _failed(bad, out / f"{bad.cell.vllm}-{question.lane}")
        )
        if good is not None and good.environment.torch != bad.environment.torch:
            yield f"  torch {good.environment.torch} → {bad.environment.torch}"


def _failed(row: Row, folder: Path) -> tuple[str, ...]:
    """The failed tests of a row, if the report that it rests on is still there."""
    path = folder / "suite.xml"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != row.report_sha256:
        return ()
    try:
        report = junit.read_report(path)
    except ReportError as error:
        return (str(error),)
    bad = (CaseOutcome.FAILED, CaseOutcome.ERROR)
    return tuple(sorted(name for name, case in report.cases.items() if case.outcome in bad))


def _contracts(question: Question, found: Span) -> Iterator[str]:
    """The contracts that differ between the last good release and the first bad one."""
    good, bad = (str(question.releases[at].version) for at in (found.good, found.bad))
    sweep = releases.run(
        releases.Selection(since=good, until=bad),
        tuple(map(Mode, question.modes)),
        (Runner(question.runner),),
    )
    differing = {change.id for change in sweep.changes}
    yield f"{len(differing)} of {len(sweep.rows)} contracts differ between {good} and {bad}"
    yield from text.unread_lines(sweep)
    yield from text.default_lines(default_changes(sweep.history))
    yield from text.change_lines(sweep.changes)
