"""What the documentation shows is what happens: its Python runs, its commands are accepted."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import nox
import pytest

from compat.cli import build_parser
from tests.snippets import DOCUMENTS, ROOT, Command, commands, run_elsewhere, snippets
from value_steer import compat_check
from value_steer.cli.parser import SUBCOMMANDS, build
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.surface import Runner

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SKIPPED = {"README.md": 1, "demo.md": 1}
"""How many snippets of a document are not run; a new one has to be admitted here."""

PARSERS: dict[str, argparse.ArgumentParser] = {
    "value-steer": build(),
    "value-steer-compat": compat_check._parser(),
}
COMPAT = build_parser()
CHECKED = ("value-steer", "value-steer-compat", "nox", "python")


@cache
def sessions() -> set[str]:
    """The names of all nox sessions; loading them twice is an error."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return set(nox.registry.get())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_run(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a document in one namespace, in order, in an empty folder."""
    elsewhere = run_elsewhere(document)
    if elsewhere is not None:
        assert document.name in elsewhere.read_text(encoding="utf-8")
        return
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": document.stem}
    for snippet in snippets(document):
        if snippet.skipped is None:
            # Its own lines in a traceback.
            code = compile("\n" * (snippet.line - 1) + snippet.code, str(document), "exec")
            exec(code, names)  # noqa: S102  (what is tested)


def test_what_is_not_run_is_counted() -> None:
    """With its reason, which is no empty phrase."""
    reasons = {d.name: [s.skipped for s in snippets(d) if s.skipped is not None] for d in DOCUMENTS}

    assert {name: len(found) for name, found in reasons.items() if found} == SKIPPED
    assert all(len(reason) > 10 for found in reasons.values() for reason in found)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_are_accepted(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parser of the program itself, or by the list of sessions."""
    monkeypatch.chdir(ROOT)
    wrong = [c for c in commands(document) if c.program in CHECKED and not accepted(c)]

    assert wrong == []


def test_the_readme_counts_the_contracts_as_they_are() -> None:
    """What the checker prints of the release that its example is about."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (vllm,) = re.findall(r"^vLLM (\S+), abstain and vfd: ", text, re.MULTILINE)
    told = {runner: int(count) for runner, count in re.findall(r"(v\d): all (\d+) contracts", text)}

    assert told == {
        runner.value: sum(runner in s.runners and s.is_asked_of(vllm) for s in SURFACES)
        for runner in Runner
    }


def test_contributing_names_every_session() -> None:
    """Of those of one release or one Python each, one or the name alone."""
    document = ROOT / "CONTRIBUTING.md"
    shown = {c.arguments[1] for c in commands(document) if c.arguments[:1] == ("-s",)}

    assert {_kind(name) for name in sessions()} == {_kind(name) for name in shown}


def _kind(session: str) -> str:
    return re.sub(r"-\d[.\d]*$", "-N" if session.startswith("compat-") else "", session)


def test_every_subcommand_is_described() -> None:
    """With its one-line summary's table row and an example or more."""
    document = ROOT / "docs" / "cli.md"
    shown = {c.arguments[0] for c in commands(document) if c.program == "value-steer"}

    assert shown >= {subcommand.name for subcommand in SUBCOMMANDS}


@pytest.mark.parametrize(
    "command",
    [
        Command("value-steer", ("evaluat",)),
        Command("value-steer", ("evaluate", "--no-such-option")),
        Command("value-steer-compat", ("--sinc", "0.25", "--odd")),
        Command("nox", ("-s", "compat-0.1")),
        Command("nox", ("-s", "compat-0.28", "--", "--isolation", "none")),
        Command("python", ("-m", "compat", "registri")),
    ],
    ids=lambda command: " ".join((command.program, *command.arguments)),
)
def test_a_wrong_command_is_noticed(command: Command) -> None:
    """The check can fail."""
    assert not accepted(command)


def accepted(command: Command) -> bool:
    """Whether a program takes these arguments."""
    if command.program == "nox":
        return _is_nox(list(command.arguments))
    if command.program == "python":
        others = command.arguments[:2] != ("-m", "compat")
        return others or _parses(COMPAT, command.arguments[2:])
    if command.program == "value-steer" and len(command.arguments) < 2:
        names = {subcommand.name for subcommand in SUBCOMMANDS}
        return not command.arguments or command.arguments[0] in {*names, "--help", "--version"}
    return _parses(PARSERS[command.program], command.arguments)


def _is_nox(arguments: list[str]) -> bool:
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options, rest = arguments[:split], arguments[split + 1 :]
    if options[:1] != ["-s"]:
        return options in ([], ["-l"])
    own = [name for name in options[1:] if name.startswith("compat-") and name != "compat-all"]
    compat = [name.removeprefix("compat-") for name in own]
    known = set(options[1:]) <= sessions()
    return known and all(_parses(COMPAT, ("run", name, *rest)) for name in compat)


def _parses(parser: argparse.ArgumentParser, arguments: tuple[str, ...]) -> bool:
    try:
        parser.parse_args(arguments)
    except SystemExit as stopped:
        return not stopped.code
    return True
