"""What people type and what lies in files by mistake, for every option of a parser."""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SECONDS = 20
"""After which a command that waits for something, such as a pipe's writer, is ended."""

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WORDS = {
    "empty text": "",
    "blank": " ",
    "nan": "nan",
    "inf": "inf",
    "minus one": "-1",
    "huge": "9" * 20,
    "endless": "9" * 100_000,
    "zero byte": "a\0b",
    "two lines": "a\nb",
    "bytes that are no UTF-8": "\udcff",
    "bracket": "http://[",
}
CONTENTS = {
    "binary": bytes(range(256)) * 8,
    "empty file": b"",
    "pointer": POINTER,
    "latin-1": '{"prompt": "é", "label": 1}\n'.encode("latin-1"),
    "broken line": b'{"prompt": "a"}\n{"prompt": \n',
    "chat": b'{"messages": [{"role": "user", "content": "a"}]}\n',
    "long line": b"[" * 10_000_000,
}


def values(folder: Path, suffix: str) -> dict[str, str]:
    """Every kind of nonsense by its name; files get a suffix that the option would take."""
    files = {name: folder / f"{name.replace(' ', '-')}{suffix}" for name in CONTENTS}
    for name, path in files.items():
        path.write_bytes(CONTENTS[name])
    zipped = folder / "none.jsonl.gz"
    zipped.write_bytes(b"not compressed")
    pipe, loop = folder / f"pipe{suffix}", folder / f"loop{suffix}"
    if not pipe.exists():
        os.mkfifo(pipe)
        loop.symlink_to(loop.name)
        (folder / "folder").mkdir(exist_ok=True)
    return {
        **WORDS,
        **{name: str(path) for name, path in files.items()},
        "none zipped": str(zipped),
        "pipe": str(pipe),
        "loop": str(loop),
        "folder": str(folder / "folder"),
        "missing file": str(folder / f"nowhere{suffix}"),
        "missing folder": str(folder / "nowhere" / f"x{suffix}"),
        "below a file": str(files["binary"] / "x"),
        "long name": str(folder / ("x" * 300)),
    }


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Those that take a value; of a menu none: its commands have parsers of their own."""
    for action in parser._actions:
        if action.nargs != 0 and not isinstance(action, argparse._SubParsersAction):
            yield action


def menu(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The commands of a parser."""
    found = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return found[0].choices if found else {}


def command_line(parser: argparse.ArgumentParser, given: Mapping[str, str | None]) -> list[str]:
    """The arguments that give these values, in a form in which any text can be a value.

    Args:
        parser: Of the command.
        given: By option or place; ``None`` for one that takes no value.
    """
    named = [
        name if one is None else f"{name}={one}"
        for name, one in given.items()
        if name.startswith("-")
    ]
    placed = [one for a in options(parser) if (one := given.get(a.dest)) is not None]
    return [*named, *(["--", *placed] if placed else [])]


@contextmanager
def ended_in_time() -> Iterator[None]:
    """Fail instead of waiting for ever."""

    def fail(*_: object) -> None:
        msg = f"still waiting after {SECONDS} s"
        raise AssertionError(msg)

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
