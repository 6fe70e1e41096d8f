"""The code in the documentation: what is to be run, and why something is not.

HTML comments, which readers do not see, steer it:

``<!-- snippet: skip: REASON -->``  the next block of Python is not run
``<!-- snippet: run`` CODE ``-->``  code that the next block needs and readers do not
``<!-- snippets: PATH -->``         this test runs all the blocks of the document
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_SKIP = re.compile(r"<!-- snippet: skip: (.+) -->\s*")
_RUN = re.compile(r"<!-- snippet: run\n(.*?)-->\s*", re.DOTALL)
_ELSEWHERE = re.compile(r"<!-- snippets: (\S+) -->\s*")
_JOINS = {"&&", "||", ";", "|"}


@dataclass(frozen=True)
class Snippet:
    """A piece of Python.

    Attributes:
        code: To be run.
        line: Of the document, on which it starts, counted from 1.
        skipped: Why it is not run.
    """

    code: str
    line: int
    skipped: str | None = None


@dataclass(frozen=True)
class Command:
    """A command with its arguments, as a shell would split them."""

    program: str
    arguments: tuple[str, ...]


def snippets(document: Path) -> list[Snippet]:
    """The Python of a document, in order."""
    found, reason = [], None
    for token in _tokens(document):
        line = token.map[0] + 2 if token.map else 1
        if token.type == "html_block":
            if skip := _SKIP.fullmatch(token.content):
                reason = skip[1]
            if hidden := _RUN.fullmatch(token.content):
                found.append(Snippet(hidden[1], line))
        elif token.type == "fence" and token.info == "python":
            found.append(Snippet(token.content, line, reason))
            reason = None
    return found


def run_elsewhere(document: Path) -> Path | None:
    """The test that runs the Python of a document, if it has one of its own."""
    matches = (_ELSEWHERE.fullmatch(token.content) for token in _tokens(document))
    return next((ROOT / match[1] for match in matches if match), None)


def commands(document: Path) -> Iterator[Command]:
    """Every command in console blocks, bash blocks and inline code.

    Inline code with an ellipsis is a pattern, not a command.
    """
    for token in _tokens(document):
        if token.type == "fence" and token.info in {"bash", "console", "sh"}:
            for line in _lines(token):
                yield from _split(line)
        for child in token.children or ():
            if child.type == "code_inline" and not re.search(r"…|\.\.\.|[A-Z]{4}", child.content):
                yield from _split(child.content)


def _tokens(document: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(document.read_text(encoding="utf-8"))


def _lines(token: Token) -> list[str]:
    """What is typed: in a console after the prompt, else every line; continued lines joined."""
    lines = token.content.replace("\\\n", " ").splitlines()
    if token.info == "console":
        return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return lines


def _split(line: str) -> Iterator[Command]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # inline code that is no command
        return
    while words:
        end = next((i for i, word in enumerate(words) if word in _JOINS), len(words))
        part, words = words[:end], words[end + 1 :]
        while part and re.match(r"[A-Z_]+=", part[0]):
            part = part[1:]
        if part:
            yield Command(Path(part[0]).name, tuple(part[1:]))
