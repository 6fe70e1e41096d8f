# /// script
# requires-python = ">=3.10"
# dependencies = ["nox>=2025.5.1"]
# ///
"""The menu (``nox -l``): each session is a thin call of a tool or of ``python -m compat``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
# pip, not uv: only pip sees the wheels of a configured find-links folder.
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_external_run = True
# --no-error-on-missing-interpreters leaves out a Python that is not here, and says so.
nox.options.error_on_missing_interpreters = True

GROUPS = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(GROUPS)
# pyenv's shims stand on PATH for every Python, and start only those that are chosen.
os.environ.setdefault("PYENV_VERSION", ":".join(PYTHONS))
# Tests that need no torch, which for another Python is 5 GB. One that imports it fails here.
LIGHT_TESTS = (
    *(f"tests/{name}" for name in ("actions", "compat", "contracts", "records", "registry")),
    *(
        f"tests/test_{name}.py"
        for name in ("budgets", "compat_check", "distributions", "propose", "versions", "workflows")
    ),
)
PARALLEL = ("--numprocesses", "auto", "--dist", "worksteal")
SAMPLE = "0.28.0"  # of vLLM, where one release stands for all
AXE = "axe-core@4.14.1"  # what finds a page's barriers; used in tests alone
EXPRESSIONS = "@actions/expressions@0.3.61"  # GitHub's own reader of `${{ … }}`; in tests alone
GITHUB = Path(".github")
# What each of GitHub's schemas describes, as check-jsonschema names them.
GITHUB_SCHEMAS = {
    "github-workflows": [*GITHUB.glob("workflows/*.yml")],
    "github-actions": [*GITHUB.glob("actions/*/action.yml")],
    "dependabot": [GITHUB / "dependabot.yml"],
    "github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "github-issue-forms": [
        path for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.stem != "config"
    ],
}
CANDIDATES = json.loads(Path("matrix/candidates.json").read_text(encoding="utf-8"))["candidates"]


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml."""
    session.install(*nox.project.dependency_groups(GROUPS, group))


def npm_install(session: nox.Session, package: str) -> Path:
    """Install a package of npm's into a folder of the session, and return that."""
    folder = session.create_tmp()
    session.run(
        "npm",
        "install",
        "--ignore-scripts",
        "--no-save",
        "--prefix",
        folder,
        package,
        external=True,
    )
    return Path(folder).resolve()


def machine(session: nox.Session, *command: str) -> None:
    """Call the compatibility machine with a command and the session's own arguments."""
    install(session, "compat")
    session.run("python", "-m", "compat", *command, *session.posargs)


def install_vllm(session: nox.Session, *more: str) -> None:
    """Install a build of vLLM for this machine with value-steer beside it."""
    (candidate,) = (c for c in CANDIDATES if c["version"] == SAMPLE)
    lane = "cuda" if shutil.which("nvidia-smi") else "cpu"
    (build,) = (b for b in candidate["builds"] if b["lane"] == lane)
    vllm = f"{build['distribution']}=={SAMPLE}"
    session.install(f"torch=={candidate['torch']}", vllm, *more)
    # They come as CUDA builds, which break transformers beside a CPU build of torch.
    session.run("pip", "uninstall", "--yes", "torchaudio", "torchcodec", "torchvision")
    session.install("--no-deps", "-e", ".")


@nox.session
def tests(session: nox.Session) -> None:
    """Unit tests of everything that needs no engine, on every core."""
    install(session, "test")
    session.install("--no-deps", "-e", ".")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """The same with their branch coverage, which costs half as much again."""
    install(session, "test")
    session.install("--no-deps", "-e", ".")
    session.run("pytest", *PARALLEL, "--cov", *session.posargs)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kill every writer at random points, damage what it wrote: ``-- --trials 300 --seed 1``."""
    install(session, "test")
    session.install("--no-deps", "-e", ".")
    session.run("pytest", "tests/faults/test_damage.py", env={"VALUE_STEER_FAULTS": "200"})
    session.run("python", "-W", "ignore", "-m", "tests.faults", *session.posargs)


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Give everything that reads an input made-up ones: ``-- --examples 200000 --seed 1``."""
    install(session, "test")
    session.install("--no-deps", "-e", ".")
    session.run("python", "-W", "ignore", "-m", "tests.fuzz", *session.posargs)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change the core line by line and see whether a test fails: ``-- --survivors`` shows more."""
    install(session, "test")
    session.install("--no-deps", "-e", ".", "mutmut==3.8.1")
    env = {
        "OMP_NUM_THREADS": "1",  # a forked child would wait for threads that only its parent has
        "PYTHONPATH": str(Path("tests", "mutation").resolve()),
        "PYTEST_ADDOPTS": "-p quickest_first",
        "VALUE_STEER_TRACES": "240",  # what they find they find soon
    }
    session.run("mutmut", "run", env=env)
    session.run("python", "-m", "tests.mutation.report", *session.posargs)


@nox.session(python=PYTHONS, default=False)
def pythons(session: nox.Session) -> None:
    """The wheel test and all unit tests on every Python that is claimed, or ``-p 3.12``."""
    check_wheel(session)
    install(session, "test")
    session.install("--no-deps", "-e", ".")
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session(python=PYTHONS, default=False)
def light(session: nox.Session) -> None:
    """The wheel test and the unit tests that need no torch, on every Python that is claimed."""
    check_wheel(session)
    install(session, "light")
    session.install("--no-deps", "-e", ".")
    session.run("pytest", *PARALLEL, *LIGHT_TESTS, *session.posargs)


@nox.session(python=PYTHONS, default=False)
def wheel(session: nox.Session) -> None:
    """The wheel test: installed without torch, on every Python that is claimed."""
    check_wheel(session)


def check_wheel(session: nox.Session) -> None:
    """Build the wheel, install it without torch, import all that there is, call both commands."""
    project = GROUPS["project"]
    light = [need for need in project["dependencies"] if not need.startswith("torch")]
    session.install("--no-deps", ".")
    session.install(*light, *project["optional-dependencies"]["index"])
    script = Path("tests", "installed_wheel.py").resolve()
    with session.chdir(session.create_tmp()):  # where no checkout can stand in for the wheel
        session.run("python", "-I", str(script))
        session.run("value-steer", "--help", silent=True)
        session.run("value-steer-compat", "--vllm", SAMPLE)


@nox.session(name="engine-tests", default=False)
def engine_tests(session: nox.Session) -> None:
    """Capturing, judging and replicas on a real vLLM; what it serves is tested by ``compat-*``."""
    extras = GROUPS["project"]["optional-dependencies"]
    needed = [*extras["judge"], *extras["ray"], *extras["train"], "hypothesis", "pytest>=8.3"]
    install_vllm(session, *needed)
    real = ("tests/features/test_capture_engine.py", "tests/labels/test_judge_engine.py")
    session.run("pytest", *real, "tests/features/test_features_ray.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, imports, layers, formatting; the workflows, their security and their schema."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("actionlint")
    session.run("zizmor", "--offline", "--persona", "auditor", "--quiet", ".github")
    for schema, files in GITHUB_SCHEMAS.items():
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files))


@nox.session
def types(session: nox.Session) -> None:
    """Static types, strictly."""
    install(session, "types")
    session.run("mypy", *session.posargs)


@nox.session(default=False)
def contracts(session: nox.Session) -> None:
    """Check the contracts against a vLLM source: ``-- --source DIR``, or ``-- --all`` releases."""
    install(session, "compat")
    session.run("python", "-m", "value_steer.compat_check", *session.posargs)


@nox.session(default=False)
def static(session: nox.Session) -> None:
    """Check the contracts of every release in its wheel and record what holds in the registry."""
    machine(session, "static")


@nox.session(default=False)
def registry(session: nox.Session) -> None:
    """Validate validated_versions.json, show what it says, and that nothing derived drifts."""
    machine(session, "registry")
    session.run("python", "-m", "compat", "derive", "--check")


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """List the releases on the package index in matrix/candidates.json."""
    machine(session, "discover")


@nox.session(default=False)
def bisect(session: nox.Session) -> None:
    """Name the first bad release: ``-- --good 0.19.0 --bad 0.30.0 --mode vfd --run``."""
    machine(session, "bisect")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Resolve releases anew into matrix/locks: ``-- 0.28``; all of them without an argument."""
    machine(session, "lock")


@nox.session(name="compat-all", default=False)
def compat_all(session: nox.Session) -> None:
    """Validate every release on every lane of this machine, or ``-- --async``; resumes."""
    machine(session, "sweep")


@nox.session(default=False)
def plan(session: nox.Session) -> None:
    """Print the matrix of cells; ``-- --device cpu --github-output`` in a workflow."""
    machine(session, "plan")


@nox.session(default=False)
def compat(session: nox.Session) -> None:
    """Validate one cell: ``-- 0.28.0 --lane cpu-async --runner default --fragment out/f.json``."""
    machine(session, "run")


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Test and measure on this machine's GPU, in one folder; offline with ``-- --wheels DIR``."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--wheels", type=Path)
    wheels = parser.parse_known_args(session.posargs)[0].wheels
    if wheels is not None:  # what this session needs is in there, too
        if not wheels.is_dir():
            session.error(f"--wheels {wheels}: is no folder; fill one as docs/gpu-runner.md says")
        session.env.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=wheels.resolve().as_uri())
    machine(session, "gpu")


@nox.session(default=False)
def record(session: nox.Session) -> None:
    """Merge a folder of fragments into the registry: ``-- out --plan out/plan.json``."""
    machine(session, "record")


@nox.session(name="release-gate", default=False)
def release_gate(session: nox.Session) -> None:
    """Say whether a release may be built, and why not; ``-- --plan FILE`` checks a matrix run."""
    machine(session, "gate")


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Build wheel and source distribution into dist/, twice to the same bytes, and check them."""
    install(session, "compat")
    session.install("twine>=6.0")
    session.run("python", "-m", "compat", "build", "--out", "dist")
    session.run("twine", "check", "--strict", *map(str, sorted(Path("dist").iterdir())))


@nox.session(default=False)
def rehearse(session: nox.Session) -> None:
    """Run the whole matrix here for some releases, one job killed: ``-- 0.28 0.32``."""
    machine(session, "rehearse")


@nox.session(default=False)
def actions(session: nox.Session) -> None:
    """The jobs of a workflow, from its file: ``-- compat-matrix --cells 0.28.0-cpu-default``."""
    install(session, "compat")
    session.env["VALUE_STEER_EXPRESSIONS"] = str(npm_install(session, EXPRESSIONS))
    session.run("pytest", "tests/actions")
    session.run("python", "-m", "tests.actions", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Speed of steered decoding against plain vLLM; options after --, e.g. -- --size large."""
    install_vllm(session, "matplotlib>=3.9")
    session.run("python", "-m", "benchmarks.decode", *session.posargs)


@nox.session(default=False, name="bench-answers")
def bench_answers(session: nox.Session) -> None:
    """What it costs that callers see outcomes; options after --, e.g. -- --tokens 24 --stream."""
    install_vllm(session)
    session.run("python", "-m", "benchmarks.answers", *session.posargs)


@nox.session(default=False, name="bench-guard")
def bench_guard(session: nox.Session) -> None:
    """What judging answers costs, and what a second model that reads them does."""
    install_vllm(session)
    session.run("python", "-m", "benchmarks.guard", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """The real server under mixed load: ``-- --minutes 30``, ``--hours 72``, ``--seed 1``."""
    install_vllm(session, "scipy>=1.13")
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session(default=False)
def flakes(session: nox.Session) -> None:
    """The suite of one release many times; names what fails at times: ``-- 0.28 --times 20``."""
    machine(session, "flakes")


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """Kill processes of the real server under load: ``-- --trials 40 --seed 0``."""
    install_vllm(session)
    session.run("python", "-m", "benchmarks.kills", *session.posargs)


@nox.session(name="kills-capture", default=False)
def kills_capture(session: nox.Session) -> None:
    """Kill captures on the real engine, and let the next one do the rest: ``-- --trials 12``."""
    install_vllm(session)
    session.run("python", "-m", "benchmarks.kills.capture", *session.posargs)


@nox.session(default=False)
def recheck(session: nox.Session) -> None:
    """Ask the package index whether what was tested has been yanked, and withdraw it."""
    machine(session, "recheck")


@nox.session(default=False)
def derive(session: nox.Session) -> None:
    """Write what follows from the registry: the extra, the tables, badges, the matrix."""
    machine(session, "derive")


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Write the compatibility page, one file of HTML, into out/report."""
    machine(session, "report")


@nox.session(default=False)
def page(session: nox.Session) -> None:
    """The compatibility page in a real Chromium: keyboard, phone, dark, no script, axe."""
    install(session, "page")
    axe = npm_install(session, AXE) / "node_modules" / "axe-core" / "axe.min.js"
    session.env["VALUE_STEER_AXE"] = str(axe)
    session.run("pytest", "tests/compat/report/test_browser.py", *session.posargs)


@nox.session(default=False)
def image(session: nox.Session) -> None:
    """Build the image of a release, the newest CPU build if none is named: ``-- 0.28.0``."""
    machine(session, "image")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site into out/site; a warning or a broken link is an error."""
    install(session, "docs")
    session.run("mkdocs", "build", *session.posargs, env={"NO_MKDOCS_2_WARNING": "1"})


def _compat_session(series: str) -> None:
    """One session per series of vLLM; each tests its newest release."""

    @nox.session(name=f"compat-{series}", tags=["compat"], default=False)
    def compat(session: nox.Session) -> None:
        machine(session, "run", series)

    compat.__doc__ = f"Validate value-steer on vLLM {series} and record the evidence."


for _series in dict.fromkeys(".".join(c["version"].split(".")[:2]) for c in CANDIDATES):
    _compat_session(_series)
