"""Messages of one line, whatever is quoted in them; for every command of the package."""

from __future__ import annotations

import argparse
from typing import NoReturn

_LONGEST = 600


def one_line(text: str) -> str:
    """A message without line breaks or control characters; of a long one both ends."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * _LONGEST])
    line = " ".join([*line.split(), *(text[4 * _LONGEST :][-_LONGEST:].split())])
    half = _LONGEST // 2
    return line if len(line) <= _LONGEST else f"{line[:half]} … {line[-half:]}"


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and names the help instead of printing it."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")
