"""``python -m tests.actions WORKFLOW``: a workflow's jobs, run here from its own file.

Without a workflow: what of each only GitHub can do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.actions import expressions, reading, report
from tests.actions.records import ActionsError, Event
from tests.actions.run import Choice, Request, WorkflowRun, chosen
from tests.actions.uses import clone
from tests.workflows import ROOT, names

VARIABLE = "VALUE_STEER_EXPRESSIONS"


def main(argv: list[str] | None = None) -> int:
    """Run a workflow; 1 if a job failed, 2 if it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.actions", description=__doc__)
    parser.add_argument("workflow", nargs="?", help="name of its file, without .yml")
    parser.add_argument("--jobs", nargs="+", default=[], metavar="JOB", help="and what they need")
    parser.add_argument(
        "--cells",
        nargs="+",
        default=[],
        metavar="NAME",
        help="cells or releases of the plan, or values of another matrix",
    )
    parser.add_argument("--ref", help="what GITHUB_REF says; HEAD's branch by default")
    parser.add_argument(
        "--may-fail", nargs="+", default=[], metavar="JOB", help="whose failure is no fault"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "actions", metavar="FOLDER")
    given = parser.parse_args(argv)
    try:
        return _run(given) if given.workflow else _list()
    except ActionsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def _list() -> int:
    for name in names():
        parts = reading.left_out(ROOT, reading.jobs(ROOT, name))
        sys.stdout.write(f"{name}\n{report.left_out(parts)}\n")
    return 0


def _run(given: argparse.Namespace) -> int:
    choice = Choice(tuple(given.jobs), tuple(given.cells))
    # All that can be refused is, before anything of an earlier run is removed.
    names = {job.name for job in chosen(ROOT, given.workflow, choice)}
    if unknown := sorted(set(given.may_fail) - names):
        msg = f"--may-fail {' '.join(unknown)}: not among the jobs {', '.join(sorted(names))}"
        raise ActionsError(msg)
    folder = os.environ.get(VARIABLE)
    evaluate = expressions.node(Path(folder) if folder else None)
    run = WorkflowRun(_request(given, choice), evaluate, _say)
    source = run.request.source
    try:
        run.run()
    finally:
        # Of a run that could not go on, too.
        if run.reports:
            sys.stdout.write(f"\n{report.jobs(run.reports)}\n")
    parts = reading.left_out(source, chosen(source, given.workflow, choice))
    sys.stdout.write(report.left_out(parts))
    failed = dict.fromkeys(found.job for found in run.reports if found.outcome == "failure")
    for name in failed:
        _say(f"failed: {name}{' (--may-fail)' if name in given.may_fail else ''}")
    return 1 if set(failed) - set(given.may_fail) else 0


def _request(given: argparse.Namespace, choice: Choice) -> Request:
    """What to run, of a clone of what is committed."""
    ref, out = given.ref or _branch(), given.out.resolve() / given.workflow
    source = out / "source"
    if out.exists():
        if not source.is_dir():
            msg = f"{out}: is there, and not from an earlier run; name another folder with --out"
            raise ActionsError(msg)
        shutil.rmtree(out)
    source.parent.mkdir(parents=True)
    clone(ROOT, source)
    if changed := _git("status", "--porcelain").splitlines():
        _say(f"note: {len(changed)} files are not committed; what is committed is run")
    events = reading.triggers(source, given.workflow)
    name = "workflow_dispatch" if "workflow_dispatch" in events else events[0]
    event = Event(given.workflow, name, ref, _git("rev-parse", "HEAD", folder=source))
    return Request(event, source, out, choice)


def _branch() -> str:
    ref = _git("rev-parse", "--symbolic-full-name", "HEAD")
    if ref == "HEAD":
        msg = "HEAD is on no branch; say with --ref what the run is of, e.g. refs/heads/main"
        raise ActionsError(msg)
    return ref


def _git(*arguments: str, folder: Path = ROOT) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        msg = f"git {' '.join(arguments)}: {done.stderr.strip()}"
        raise ActionsError(msg)
    return done.stdout.strip()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
