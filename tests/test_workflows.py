"""The workflows: what they call exists, and what must never be in them is not there.

``nox -s lint`` asks actionlint and zizmor first; here stands what neither knows.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
from dataclasses import fields

import pytest
import yaml

from compat.releases import policy
from compat.releases.matrix import PlannedCell
from tests import workflows
from tests.workflows import GITHUB, ROOT, Job, Step

BASH = shutil.which("bash") or "bash"
WRITES = {"contents", "pull-requests", "actions", "packages", "deployments"}
PUBLISH = "pypa/gh-action-pypi-publish"
JOBS = [pytest.param(job, id=job.where) for job in workflows.every_job()]
WRITING = [pytest.param(job, id=job.where) for job in workflows.every_job() if job.writes & WRITES]
OWN_MACHINES = [
    pytest.param(job, id=job.where)
    for job in workflows.every_job()
    if set(job.labels) - {"ubuntu-24.04"}
]
PLANNED = [
    pytest.param(job, id=job.where)
    for job in workflows.every_job()
    if isinstance(job.matrix, str) and job.matrix
]
STEPS = [pytest.param(step, id=step.where) for step in workflows.every_step()]
SCRIPTS = [pytest.param(step, id=step.where) for step in workflows.every_step() if step.run]
ACTIONS = [
    pytest.param(step, id=step.where)
    for step in workflows.every_step()
    if step.uses and not step.is_own
]
OWN_ACTIONS = [pytest.param(step, id=step.where) for step in workflows.every_step() if step.is_own]
CHECKOUTS = [
    pytest.param(step, id=step.where)
    for step in workflows.every_step()
    if step.uses.startswith("actions/checkout@")
]
WORKFLOWS = workflows.names()

_PATH = re.compile(r"(?<![\w./$}-])(?:[\w.-]+/)+[\w.-]+\.(?:py|sh|ya?ml|json|md|txt)\b")
_MADE = ("out/", "dist/")


def _sessions() -> set[str]:
    """The sessions of noxfile.py, by their names, without running it."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    found = set()
    for node in (n for n in tree.body if isinstance(n, ast.FunctionDef)):
        for mark in node.decorator_list:
            if ast.unparse(mark).startswith("nox.session"):
                given = {k.arg: k.value for k in getattr(mark, "keywords", [])}
                name = given.get("name")
                found.add(ast.literal_eval(name) if name else node.name)
    candidates = json.loads((ROOT / "matrix" / "candidates.json").read_text(encoding="utf-8"))
    series = {".".join(c["version"].split(".")[:2]) for c in candidates["candidates"]}
    return found | {f"compat-{name}" for name in series}


def _called(script: str) -> list[str]:
    """The nox sessions that a script calls."""
    words = shlex.split(script.replace("\\\n", " "), comments=True)
    return [
        words[i + 1].rstrip(";")
        for i, word in enumerate(words)
        if word == "-s" and "nox" in words[:i]
    ]


def _allowed(workflow: str) -> re.Pattern[str]:
    """The paths that a workflow's proposal may touch."""
    (allowed,) = [
        step.inputs["allowed"]
        for job in workflows.jobs(workflow)
        for step in job.steps
        if step.uses == "$/.github/actions/propose"
    ]
    return re.compile(str(allowed))


@pytest.mark.parametrize("job", JOBS)
def test_every_session_that_a_job_calls_exists(job: Job) -> None:
    """A renamed session would otherwise be noticed on the next schedule."""
    called = [name for step in job.steps for name in _called(step.run)]
    if "$SESSION" in called:
        strategy = workflows.mapping(job.body["strategy"])
        called += workflows.texts(workflows.mapping(strategy["matrix"])["session"])

    assert set(called) - {"$SESSION"} <= _sessions()


@pytest.mark.parametrize("step", SCRIPTS)
def test_every_path_in_a_script_exists(step: Step) -> None:
    """Paths below out/ and dist/ are made by the run itself."""
    named = {path for path in _PATH.findall(step.run) if not path.startswith(_MADE)}

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_path_that_starts_a_workflow_exists() -> None:
    """A filter on a folder that is gone would never fire."""
    on = workflows.mapping(workflows.workflow("compat-matrix")["on"])
    filters = workflows.texts(workflows.mapping(on["push"])["paths"])

    assert filters
    assert [f for f in filters if not (ROOT / f.removesuffix("/**")).is_dir()] == []


@pytest.mark.parametrize("step", ACTIONS)
def test_actions_are_pinned_by_hash(step: Step) -> None:
    """A tag can be moved."""
    assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step.uses)


@pytest.mark.parametrize("step", OWN_ACTIONS)
def test_own_actions_exist(step: Step) -> None:
    """They are of the commit that runs."""
    assert (ROOT / step.uses.removeprefix("$/") / "action.yml").is_file()


def test_every_hash_says_which_version_it_is() -> None:
    """And one action has one hash, wherever it is used."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(GITHUB.rglob("*.yml")))
    pins = re.findall(r"uses: ([\w./-]+)@([0-9a-f]{40})(.*)", text)

    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for *_, comment in pins)
    assert len({action for action, *_ in pins}) == len(set(pins))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_grants_nothing_by_default(name: str) -> None:
    """Each job says what its token may do, and no workflow runs a fork's code with more."""
    body = workflows.workflow(name)

    assert body["permissions"] == {}
    assert "concurrency" in body
    assert not workflows.triggers(name) & {"pull_request_target", "workflow_run"}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_is_bounded(job: Job) -> None:
    """Every job has a time limit, explicit permissions, and a machine that no data can choose."""
    assert 0 < int(str(job.body["timeout-minutes"])) <= 180
    assert "permissions" in job.body
    assert all("${{" not in label for label in job.labels)


@pytest.mark.parametrize("step", STEPS)
def test_a_script_is_not_a_template(step: Step) -> None:
    """Values reach a shell as variables; a template would make code of them."""
    assert "${{" not in step.run


@pytest.mark.parametrize("step", SCRIPTS)
def test_a_script_is_valid_shell(step: Step) -> None:
    """Its syntax, that is."""
    done = subprocess.run([BASH, "-n"], input=step.run, text=True, capture_output=True, check=False)

    assert done.stderr == ""


@pytest.mark.parametrize("job", PLANNED)
def test_what_is_asked_of_a_planned_matrix_is_in_the_plan(job: Job) -> None:
    """A matrix that another job has printed is out of actionlint's sight."""
    asked = set(re.findall(r"\bmatrix\.([\w-]+)", yaml.safe_dump(job.body)))

    assert asked
    assert asked <= {field.name for field in fields(PlannedCell)}


@pytest.mark.parametrize("step", CHECKOUTS)
def test_a_checkout_leaves_no_credentials(step: Step) -> None:
    """What runs later in the job must not find the token in .git/config."""
    assert step.inputs["persist-credentials"] == "false"


def test_no_file_names_a_secret() -> None:
    """Publishing is trusted, proposals use the job's own token: nothing is stored."""
    texts = {path: path.read_text("utf-8") for path in GITHUB.rglob("*") if path.is_file()}

    assert len(texts) > len(WORKFLOWS)
    assert [path for path, text in texts.items() if "secrets." in text] == []


@pytest.mark.parametrize("job", WRITING)
def test_a_job_that_may_write_runs_nothing_of_the_repository(job: Job) -> None:
    """It takes what others made and checked; it installs nothing and calls no session."""
    assert job.labels == ["ubuntu-24.04"]
    assert not any(step.run or "/nox" in step.uses for step in job.steps)


@pytest.mark.parametrize("job", OWN_MACHINES)
def test_own_machines_run_only_what_is_on_main(job: Job) -> None:
    """No pull request and no branch reaches a GPU runner, and its token can only read."""
    started = workflows.triggers(job.workflow)

    assert not started & {"pull_request", "issue_comment", "merge_group"}
    assert "github.ref == 'refs/heads/main'" in str(job.body["if"])
    assert job.permissions == {"contents": "read"}
    assert job.labels == ["self-hosted", "linux", "x64", "gpu", "a100"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_job_takes_up_another_has_left(name: str) -> None:
    """Under a name that is the same when only some jobs are run again."""
    steps = [step for job in workflows.jobs(name) for step in job.steps]
    left = {s.inputs["name"] for s in steps if s.uses.startswith("actions/upload-artifact@")}
    taken = {s.inputs.get("name") for s in steps if s.uses.startswith("actions/download-artifact@")}
    taken |= {s.inputs.get("artifact") for s in steps}

    assert taken - {None} <= left
    assert not any("run_attempt" in str(artifact) for artifact in taken)


@pytest.mark.parametrize("name", ["compat-discover", "compat-matrix"])
def test_a_proposal_may_touch_what_is_derived_and_nothing_else(name: str) -> None:
    """Data that people review, never what is run or says who may run it."""
    allowed = _allowed(name)
    derived = ["validated_versions.json", "README.md", "pyproject.toml", "matrix/actions.json"]
    derived += ["docs/compatibility.md"]
    derived += [path.relative_to(ROOT).as_posix() for path in (ROOT / "evidence").iterdir()]
    derived += [path.relative_to(ROOT).as_posix() for path in (ROOT / "badges").iterdir()]
    others = ["noxfile.py", "matrix/policy.yaml", "value_steer/worker.py", "badges/../noxfile.py"]
    others += ["evidence/../noxfile.py", "evidence/2026.py", "docs/hooks.py"]
    others += [path.relative_to(ROOT).as_posix() for path in GITHUB.rglob("*") if path.is_file()]

    assert [path for path in derived if not allowed.fullmatch(path)] == []
    assert [path for path in others if allowed.fullmatch(path)] == []


def test_a_new_release_comes_with_what_its_source_says() -> None:
    """Tests demand it of every candidate, so without it the pull request could not be merged."""
    (job,) = [job for job in workflows.jobs("compat-discover") if job.name == "discover"]
    called = [name for step in job.steps for name in _called(step.run)]
    conditions = {name: s.body.get("if") for s in job.steps for name in _called(s.run)}

    assert called.index("matrix") < called.index("static") < called.index("derive")
    # A broken contract fails the step; the proposal tells of it.
    assert conditions["static"] == conditions["derive"]
    for name in ("candidates", "actions", "upstream"):
        assert _allowed("compat-discover").fullmatch(f"matrix/{name}.json")


@pytest.mark.parametrize("name", ["compat-discover", "compat-matrix"])
def test_a_proposal_takes_the_history_along(name: str) -> None:
    """A row that moves out of the registry must not be lost between two jobs."""
    (added,) = [
        line.split()
        for job in workflows.jobs(name)
        for step in job.steps
        for line in step.run.splitlines()
        if line.strip().startswith("git add")
    ]

    assert {"validated_versions.json", "evidence"} <= set(added)


def test_only_the_release_publishes() -> None:
    """One job may ask the index for trust, behind an environment, and it runs no script."""
    (job,) = [j for j in workflows.every_job() for s in j.steps if s.uses.startswith(PUBLISH)]

    assert (job.workflow, job.body["environment"]) == ("release", "release")
    assert job.permissions == {"id-token": "write"}
    assert not any(step.run or "checkout" in step.uses for step in job.steps)
    assert workflows.triggers("release") == {"push"}


def test_a_release_passes_the_gate_first() -> None:
    """Publish needs attest needs build needs gate, and the gate is the session."""
    jobs = {job.name: job for job in workflows.jobs("release")}

    assert [jobs[name].needs for name in ("publish", "attest", "build")] == [
        {"attest"},
        {"build"},
        {"gate"},
    ]
    assert any("release-gate" in _called(step.run) for step in jobs["gate"].steps)


def test_the_one_required_check_waits_for_every_other() -> None:
    """And it runs whatever becomes of them, so that a skipped job is no pass."""
    jobs = {job.name: job for job in workflows.jobs("ci")}

    assert jobs["passed"].needs == set(jobs) - {"passed"}
    assert jobs["passed"].body["if"] == "always()"


def test_unit_tests_run_on_every_supported_python() -> None:
    """As pyproject.toml's classifiers name them, which the session reads."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (job,) = [job for job in workflows.jobs("ci") if job.name == "tests"]
    matrix = workflows.mapping(workflows.mapping(job.body["strategy"])["matrix"])

    assert matrix["python"] == re.findall(r"Python :: (3\.\d+)", project)


def test_a_cell_is_allowed_the_time_that_the_policy_allows_its_steps() -> None:
    """Else Actions would kill what the machine is about to record as a timeout."""
    limits = policy.load().timeout_minutes
    steps = (limits.prepare, limits.preflight, limits.contracts, limits.suite, limits.control)
    cells = [job for job in workflows.jobs("compat-matrix") if job.name in ("cpu", "gpu")]

    assert len(cells) == 2
    assert all(int(str(job.body["timeout-minutes"])) >= sum(steps) + 10 for job in cells)


def test_the_gpu_is_looked_for_in_the_image_that_cells_are_built_on() -> None:
    """It is pulled once, then."""
    (job,) = [job for job in workflows.jobs("compat-matrix") if job.name == "gpu"]
    (script,) = [step.run for step in job.steps if "--gpus all" in step.run]

    assert policy.load().base_image in script


def test_the_pinned_nox_is_one_that_the_noxfile_accepts() -> None:
    """Every line of the lock has a hash."""
    lock = (GITHUB / "actions" / "nox" / "requirements.txt").read_text(encoding="utf-8")
    wanted = (GITHUB / "actions" / "nox" / "requirements.in").read_text(encoding="utf-8").strip()

    assert f"\n{wanted} \\\n" in lock
    assert lock.count(" \\\n    --hash=sha256:") >= lock.count("==")
