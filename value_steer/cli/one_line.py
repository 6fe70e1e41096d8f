"""Messages of one line, whatever is quoted in them; for every command of the package."""

from __future__ import annotations

import argparse
from typing import NoReturn

_LONGEST = 600


def one_line(text: str) -> str:
    """A message without line breaks or control characters; of a long one both ends."""
    text = _ends(text, 4 * _LONGEST)  # of a value of 10 MB no more is looked at
    return _ends(" ".join("".join(c if c.isprintable() else " " for c in text).split()), _LONGEST)


def _ends(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and names the help instead of printing it."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")
