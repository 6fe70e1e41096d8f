"""Every option of every command of the machine, given every kind of nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat import cli
from compat.cell import flakes, pipeline
from compat.cell.services import Services
from compat.isolate import Choice, images, resolver
from compat.registry import recheck, static
from compat.release import derive, package, rehearsal, sweep
from compat.releases import discover, matrix
from compat.releases.candidates import load_candidates, select_release
from compat.report import page
from tests.compat.cells import FakeIsolation
from tests.compat.checkouts import ROOT
from tests.nonsense import command_line, ended_in_time, menu, options, values
from value_steer.cli.arguments.types import PATH, TEXT
from value_steer.contracts.history import story

if TYPE_CHECKING:
    import argparse

MENU = menu(cli.build_parser())
GOOD: dict[str, dict[str, str | None]] = {
    "run": {"version": "0.28", "--isolation": "venv", "--fragment": "f.json", "--out": "out"},
    "gpu": {"--dry-run": None, "--vllm": "0.28", "--wheels": "wheels", "--out": "out"},
    "sweep": {"versions": "0.28", "--out": "out"},
    "flakes": {"version": "0.28", "--times": "2", "--out": "out"},
    "discover": {"--candidates": "new.json"},
    "static": {},
    "lock": {"versions": "0.28", "--out": "out"},
    "plan": {"versions": "0.28", "--out": "plan.json"},
    "image": {"version": "0.28", "--out": "out"},
    "rehearse": {"versions": "0.28", "--out": "out"},
    "record": {"fragments": "fragments", "--plan": "plan.json"},
    "registry": {},
    "explain": {"version": "0.28.0"},
    "recheck": {},
    "import-registry": {"file": "flat.json"},
    "gate": {"--plan": "plan.json"},
    "derive": {},
    "build": {"--out": "out"},
    "report": {"--out": "index.html"},
    "bisect": {"--good": "0.27.0", "--bad": "0.28.0", "--out": "out"},
}


class Reached(Exception):  # noqa: N818  (no error: the work would begin here)
    """All checks have passed."""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """A folder with what good commands need, and no work that takes long."""

    def reached(*_: Any, **__: Any) -> None:
        raise Reached

    for module, name in (
        (pipeline, "run"),
        (pipeline, "space"),
        (images, "build"),
        (resolver, "resolve"),
        (discover, "discover"),
        (static, "survey"),
        (recheck, "recheck"),
        (rehearsal, "rehearse"),
        (package, "build"),
        (derive, "write"),
        (sweep, "run"),
        (flakes, "find"),
        (page, "render"),
        (story, "told"),
    ):
        monkeypatch.setattr(module, name, reached)
    monkeypatch.setattr("compat.commands.bisect.releases.run", reached)
    monkeypatch.chdir(tmp_path)
    known = json.loads((ROOT / "validated_versions.json").read_text("utf-8"))
    # What has evidence changes with every run, and a bisection will not begin at what is known.
    Path("registry.json").write_text(json.dumps({**known, "rows": []}), encoding="utf-8")
    Path("plan.json").write_text(
        matrix.dumps([matrix.cell("0.28.0", "cpu", "default")]), encoding="utf-8"
    )
    Path("flat.json").write_text('{"0.19.1": {"result": "pass"}}', encoding="utf-8")
    Path("wheels").mkdir()
    for wheel in select_release("0.28", load_candidates()).build("cpu").wheels:
        Path("wheels", wheel.filename).touch()
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):  # the command sets them
        monkeypatch.setenv(name, "")
    Path("fragments").mkdir()
    Path("fragments/none.txt").touch()
    Path("nonsense").mkdir()
    choice = Choice(FakeIsolation(), "the test says so")
    return Services(device=lambda: "cpu", choose=lambda *_, **__: choice, free_gib=lambda _: 100)


def status(arguments: list[str], services: Services) -> int:
    """What the command says to the shell; 0 where its work would begin."""
    try:
        return cli.main(arguments, services)
    except Reached:
        return 0
    except SystemExit as stopped:
        assert isinstance(stopped.code, int)  # noqa: PT017  (a message would be a traceback's)
        return stopped.code


def may_be_fine(action: argparse.Action, kind: str) -> bool:
    """Whether a value that looks odd is what an option of this type may have."""
    if action.type is PATH:
        if action.dest == "fragments":
            return kind == "folder"  # nothing came back; that is told, and is no evidence
        return action.option_strings in (
            ["--out"],
            ["--fragment"],
            ["--candidates"],
            ["--upstream"],
        )
    return action.type is TEXT and action.option_strings == ["--kill"] and kind != "blank"


def test_every_command_is_tried() -> None:
    """A new one needs a line above."""
    assert set(GOOD) == set(MENU)


@pytest.mark.parametrize("command", MENU)
def test_nonsense_is_told_in_one_line(
    command: str, services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2; no option waits, raises, or prints a page."""
    parser, given = MENU[command], GOOD[command]
    head = ["--registry", "registry.json", command]
    assert status([*head, *command_line(parser, given)], services) in {0, 1, 4}, capsys.readouterr()
    wrong = []
    for action in options(parser):
        name = (action.option_strings or [action.dest])[-1]
        suffix = Path(given.get(name) or "x.json").suffix or ".json"
        for kind, value in values(tmp_path / "nonsense", suffix).items():
            capsys.readouterr()
            arguments = [*head, *command_line(parser, {**given, name: value})]
            with ended_in_time():
                code = status(arguments, services)
            lines = capsys.readouterr().err.splitlines()
            told = len(lines) == 1 and len(lines[0]) < 1000
            if not (code == 2 and told) and not (code in {0, 1, 4} and may_be_fine(action, kind)):
                wrong.append((name, kind, code, lines[-3:]))
    assert not wrong, "\n".join(map(repr, wrong))


def test_the_registry_is_read_first(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is given before the command."""
    for kind, value in values(tmp_path / "nonsense", ".json").items():
        capsys.readouterr()
        with ended_in_time():
            code = status([f"--registry={value}", "registry"], services)
        assert (code, capsys.readouterr().err.count("\n")) == (2, 1), kind


@pytest.mark.parametrize("command", MENU)
def test_every_path_is_checked(command: str) -> None:
    """Those that are declared are there, and no other option takes a path."""
    parser = MENU[command]
    paths = {(a.option_strings or [a.dest])[-1] for a in options(parser) if a.type is PATH}

    assert paths == set(parser.get_default("places") or ())
