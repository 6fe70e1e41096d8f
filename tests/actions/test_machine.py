"""What a script sees and what it can leave for later steps."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.actions.machine import Machine, Ran, Script, environment, pairs, repository_variables
from tests.actions.records import StepError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine whose environment has little more than a PATH."""
    base = environment({"PATH": os.environ["PATH"], "SECRET": "x"}, {"GITHUB_REF": "refs/heads/a"})
    return Machine(tmp_path / "job", tmp_path, base)


def run(machine: Machine, text: str, shell: str = "") -> Ran:
    """Run a script; its log is named for its position."""
    log = machine.logs / f"{len([*machine.logs.iterdir()]):02}.log"
    log.touch()
    return machine.run(Script(text, shell), log)


def printed(machine: Machine) -> str:
    """What the last script has printed."""
    return max(machine.logs.iterdir()).read_text("utf-8")


def test_a_script_runs_in_the_workspace_with_what_actions_sets(machine: Machine) -> None:
    """And nothing else of what surrounds the runner."""
    run(
        machine,
        'echo "$PWD|$GITHUB_WORKSPACE|$GITHUB_REF|$CI|${SECRET-none}|$V"; test -d "$RUNNER_TEMP"',
    )

    folder = str(machine.workspace)
    assert printed(machine) == f"{folder}|{folder}|refs/heads/a|true|none|\n"


def test_a_step_has_variables_and_an_action_a_folder(machine: Machine) -> None:
    """For this one script."""
    script = Script('echo "$V $GITHUB_ACTION_PATH"', "bash", (("V", "a b"),), Path("/action"))
    log = machine.logs / "a.log"

    machine.run(script, log)

    assert log.read_text("utf-8") == "a b /action\n"


def test_what_a_script_leaves_is_there_for_the_next(machine: Machine) -> None:
    """Outputs of this step; variables and programs of all that follow; the last path first."""
    ran = run(
        machine,
        'echo a=1=2 >>"$GITHUB_OUTPUT"; printf "b<<E\\nx\\ny\\nE\\n" >>"$GITHUB_OUTPUT"\n'
        'echo KEPT=v >>"$GITHUB_ENV"; echo /one >>"$GITHUB_PATH"; echo /two >>"$GITHUB_PATH"\n'
        'echo done >>"$GITHUB_STEP_SUMMARY"',
    )
    run(machine, 'echo "$KEPT ${PATH%%:/[a-nq-z]*}"')

    assert ran == Ran(0, {"a": "1=2", "b": "x\ny"})
    assert printed(machine).startswith("v /two:/one")


@pytest.mark.parametrize(
    ("text", "shell", "status"),
    [
        ("false; true", "", 1),
        ("false | true", "", 0),
        ("false | true", "bash", 1),
        ("true", "bash", 0),
    ],
)
def test_a_script_fails_as_its_shell_has_it(
    machine: Machine, text: str, shell: str, status: int
) -> None:
    """Only `shell: bash` looks into pipes."""
    assert run(machine, text, shell) == Ran(status, {})


def test_a_shell_that_is_not_known_fails_the_step(machine: Machine) -> None:
    """No other stands in for it."""
    with pytest.raises(StepError, match="pwsh"):
        run(machine, "true", "pwsh")


def test_what_a_script_that_fails_has_set_is_kept(machine: Machine) -> None:
    """A step that runs in spite of it sees it."""
    ran = run(machine, 'echo A=b | tee -a "$GITHUB_ENV" >>"$GITHUB_OUTPUT"; exit 3')

    assert ran == Ran(3, {"A": "b"})
    assert machine.variables == {"A": "b"}


@pytest.mark.parametrize("text", ["a\n", "=a\n", "a<<E\nb\n"])
def test_what_cannot_be_read_fails_the_step(tmp_path: Path, text: str) -> None:
    """As on GitHub."""
    path = tmp_path / "output"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(StepError):
        pairs(path)


def test_an_equals_sign_before_the_arrows_is_what_counts(tmp_path: Path) -> None:
    """The value may hold arrows."""
    path = tmp_path / "output"
    path.write_text("a=b<<c\n\n", encoding="utf-8")

    assert pairs(path) == {"a": "b<<c"}


def test_a_job_starts_with_the_settings_of_the_package_index_and_little_else() -> None:
    """The environment that the runner itself runs in is not on its PATH."""
    own = str(Path(sys.prefix, "bin"))
    given = {"PATH": f"{own}:/bin", "PIP_FIND_LINKS": "/w", "https_proxy": "p", "VIRTUAL_ENV": own}
    given |= {"GITHUB_ACTIONS": "true", "NOX_CURRENT_SESSION": "a", "LC_ALL": "C"}

    found = environment(given, {"GITHUB_JOB": "plan"})

    assert found["PATH"] == "/bin"
    assert set(found) == {
        *("PATH", "PIP_FIND_LINKS", "https_proxy", "LC_ALL", "CI", "RUNNER_OS", "GITHUB_JOB")
    }


def test_the_variables_of_the_repository_are_those_of_pip() -> None:
    """No other: there is no GPU runner because somebody here has set GPU_RUNNERS."""
    given = {"PIP_EXTRA_INDEX_URL": "file:///a", "GPU_RUNNERS": "true", "HOME": "/"}

    assert repository_variables(given) == {"PIP_EXTRA_INDEX_URL": "file:///a"}
