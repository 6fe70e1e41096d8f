"""The value-steer command: help, exit codes, and errors of one line."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nox
import pytest
from packaging.requirements import Requirement

from tests.evaluation.traces import exact, written
from value_steer import __version__, cli
from value_steer.cli import extras
from value_steer.cli.parser import SUBCOMMANDS, build

if TYPE_CHECKING:
    from value_steer.cli.arguments.subcommand import Subcommand

ROOT = Path(cli.__file__).parents[2]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS, ids=lambda s: s.name)
def test_every_subcommand_is_a_module(subcommand: Subcommand) -> None:
    """What the parser offers can be run."""
    assert (Path(cli.__file__).parent / f"{subcommand.name}.py").is_file()


@pytest.mark.parametrize("subcommand", SUBCOMMANDS, ids=lambda s: s.name)
def test_every_help_has_examples(
    subcommand: Subcommand, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are commands that the parser takes."""
    with pytest.raises(SystemExit) as stopped:
        cli.main([subcommand.name, "--help"])

    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert subcommand.examples
    for example in subcommand.examples:
        program, *arguments = shlex.split(example)
        assert example in text
        assert program == "value-steer"
        assert build().parse_args(arguments).command == subcommand.name


def test_help_loads_nothing_heavy() -> None:
    """It answers at once, whatever is installed."""
    program = (
        "import sys\n"
        "from value_steer.cli import main\n"
        "try:\n    main(['evaluate', '--help'])\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'transformers', 'vllm'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the package."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])

    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"value-steer {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["evaluat"],
        ["evaluate", "--steps", "few"],
        ["label", "f", "--by=regex", "--pattern=("],
    ],
)
def test_wrong_arguments_are_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and stdout stays empty."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)

    assert stopped.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("evaluate", 2, "give --trajectories, --generations or --decode"),
        ("evaluate --columns c --generations g", 2, "give both"),
        ("evaluate --trajectories none.jsonl", 2, "none.jsonl: cannot be used (No such file"),
        ("calibrate none.jsonl --head none.safetensors", 2, "none.jsonl: cannot be used"),
        ("doctor --model none", 2, "--model none: cannot be used"),
    ],
)
def test_failures_are_one_line(
    arguments: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, with the subcommand, and stdout stays empty."""
    command, *rest = arguments.split()

    assert cli.main([command, *rest]) == code

    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith(f"value-steer {command}: ")
    assert streams.err.count("\n") == 1
    assert words in streams.err


def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the command that installs it."""
    traces = written(tmp_path / "t.jsonl", exact(4))
    for module in ("value_steer.cli.evaluate", "value_steer.evaluation.report"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)

    assert cli.main(["evaluate", "--trajectories", str(traces)]) == 1
    assert 'run: pip install "value-steer[evaluate]"' in capsys.readouterr().err


def test_a_fault_of_our_own_is_no_missing_extra() -> None:
    """A module that no extra brings is not explained away."""
    error = ModuleNotFoundError("No module named 'odd'", name="odd.inner")
    with pytest.raises(ModuleNotFoundError, match="odd"):
        extras.advice(error)


def module_of(distribution: str) -> str:
    """The module that a distribution brings."""
    return distribution.replace("-", "_")


def test_extras_are_those_of_the_package() -> None:
    """What is advised installs what is missing."""
    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    declared = {
        extra: {module_of(Requirement(line).name) for line in lines}
        for extra, lines in project["optional-dependencies"].items()
        if extra in extras.EXTRAS
    }

    assert {extra: set(modules) for extra, modules in extras.EXTRAS.items()} == declared


def test_interruption_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the code that shells expect."""
    from value_steer.cli import evaluate  # noqa: PLC0415  (patched where it is)

    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupt)

    assert cli.main(["evaluate", "--generations", __file__]) == 130
    assert capsys.readouterr().err == "value-steer evaluate: interrupted\n"


def test_evaluate_writes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And prints the main figures of every rule."""
    traces = written(tmp_path / "t.jsonl", exact(40))
    out = tmp_path / "report"

    code = cli.main(["evaluate", "--trajectories", str(traces), "--out", str(out), "--steps", "3"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    names = [line[:22].strip() for line in lines[1:7]]
    assert names == [
        "no abstention",
        "prompt probe",
        "probe at token 3",
        "post hoc",
        "dynamic",
        "left out: self-assessm",
    ]
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json"}
