"""Every option of every command, and whole commands on files of nonsense."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from compat.cli import build_parser
from tests.fuzz.data import ROWS
from tests.fuzz.heads import CARD
from tests.fuzz.made import KEYS, TEXTS, json_text, lines
from tests.fuzz.target import Target, ours
from tests.head_files import HIDDEN, weights_of, write
from tests.nonsense import menu, options
from value_steer import cli, compat_check
from value_steer.cli.parser import build
from value_steer.value_probe import ValueHead

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

_NUMBERS = st.sampled_from(
    [
        *("0", "1", "-1", "0.5", "1.0", "nan", "-inf", "1e400", "9" * 20, "9" * 5000, "1_0", "٣"),
        *("0x1", "", " ", "-", "--", "--help", "a b", "http://[", "http://a:99999", "http://a/v1"),
        *("(", "a{99999999999}", "(?P<a", "\\", ".", "..", "/", "~", "x.safetensors", "x.svg"),
        *("0.28.0", "0.28", "1!2.dev0+x", "good.jsonl", "head.pt", "model", "features", "pipe"),
    ]
)
_VALUES = _NUMBERS | TEXTS | st.sampled_from(KEYS.split())


def _names(parser: argparse.ArgumentParser) -> list[str]:
    """Every option with a dash, of a menu's commands too."""
    own = [name for action in parser._actions for name in action.option_strings]
    return own + [name for one in menu(parser).values() for name in _names(one)]


@st.composite
def _command_lines(draw: st.DrawFn, parser: argparse.ArgumentParser) -> list[str]:
    """A command of the menu, if there is one, its required options, and others."""
    line: list[str] = []
    commands = menu(parser)
    if commands:
        name = draw(st.sampled_from(sorted(commands)) | TEXTS)
        line.append(name)
        parser = commands.get(name, parser)
    for action in options(parser):
        if (action.required or action.nargs is None) and draw(st.integers(0, 9)):
            known = sorted(action.choices) if action.choices else ["good.jsonl"]
            value = draw(st.sampled_from(known) | _VALUES)
            line += [*action.option_strings[-1:], value]
    others = sorted({*_names(parser), "--else"} - {"--help", "-h", "--version"})
    for name in draw(st.lists(st.sampled_from(others), max_size=4)):
        value = draw(_VALUES)
        line += draw(st.sampled_from([[name, value], [f"{name}={value}"], [name], [value]]))
    return [word.replace("\0", "") for word in line]


def _parsed(make: Callable[[], argparse.ArgumentParser]) -> Callable[[Path, list[str]], None]:
    """Parse, and check what can be checked before the work."""

    def check(folder: Path, line: list[str]) -> None:
        _prepare(folder)
        told, silent = io.StringIO(), contextlib.redirect_stdout(io.StringIO())
        with _inside(folder), contextlib.redirect_stderr(told), silent:
            try:
                given = make().parse_args(line)
            except SystemExit as stopped:
                lines = told.getvalue().splitlines()
                helped = stopped.code == 0 and not lines
                assert helped or (stopped.code, len(lines)) == (2, 1)  # noqa: PT017  (or an escape)
                assert all(len(one) < 1000 for one in lines)
                return
            if hasattr(given, "subcommand"):
                ours(lambda: _required(given))

    return check


def _required(given: argparse.Namespace) -> list[object]:
    cli._require(given.subcommand, given)
    return []


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """With the folder as the current one (contextlib has this from Python 3.11 on)."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _prepare(folder: Path) -> None:
    """What some of the values name."""
    if not (folder / "head.pt").exists():
        (folder / "good.jsonl").write_text(json.dumps({"prompt": "a"}), encoding="utf-8")
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text('{"hidden_size": 4}', encoding="utf-8")
        (folder / "features").mkdir()
        (folder / "features" / "index.json").write_text("{}", encoding="utf-8")
        os.mkfifo(folder / "pipe")
        write(folder / "head.pt", weights_of(ValueHead(HIDDEN)))


def _whole(line: list[str], file: str) -> Callable[[Path, bytes], None]:
    """A command on a file, from its arguments to its exit status."""

    def check(folder: Path, made: bytes) -> None:
        _prepare(folder)
        (folder / file).write_bytes(made)
        told = io.StringIO()
        silent = contextlib.redirect_stdout(io.StringIO())
        shown = warnings.catch_warnings()
        with _inside(folder), contextlib.redirect_stderr(told), silent, shown:
            warnings.simplefilter("error")
            code = cli.main(line)
        assert code in {0, 1, 2}
        said = told.getvalue().splitlines()
        assert said or code != 2
        assert all(one.startswith(f"value-steer {line[0]}: ") for one in said), said

    return check


def _many(good: list[Any]) -> st.SearchStrategy[bytes]:
    """Files of enough lines for a calibration."""
    rows = [
        {**good[1], "prompt_id": f"p{i}", "values": [i / 60, 0.5], "label": i % 2}
        for i in range(40)
    ]
    return st.integers(0, 40).flatmap(lambda n: lines([good[0], *rows[:n]]))


_CALIBRATE = ["calibrate", "good.jsonl", "--head", "head.pt"]
_TRAJECTORIES: list[Any] = ROWS["trajectories"]

TARGETS = (
    Target("options of value-steer", _command_lines(build()), _parsed(build)),
    Target(
        "options of value-steer-compat",
        _command_lines(compat_check._parser()),
        _parsed(compat_check._parser),
    ),
    Target(
        "options of python -m compat",
        _command_lines(build_parser()),
        _parsed(build_parser),
    ),
    Target("value-steer calibrate", _many(_TRAJECTORIES), _whole(_CALIBRATE, "good.jsonl")),
    Target(
        "value-steer doctor",
        json_text(CARD),
        _whole(["doctor", "--head", "head.pt"], "head.pt.meta.json"),
    ),
)
