"""Digests of code: what is only prose in a source, comments and docstrings, does not count.

The prose is blanked where ``ast`` and ``tokenize`` see it, and what is left of the text is hashed.
An ``ast.dump`` would differ between versions of Python; the text does not.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import re
import tokenize
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BODIES = ("body", "orelse", "finalbody")


def of_files(files: Mapping[str, bytes]) -> str:
    """SHA-256 over files, by relative path with slashes and content.

    Of a ``.py`` file its code counts, of any other its bytes; line ends count in neither.

    Raises:
        ValueError: A ``.py`` file is no Python; the message names it.
    """
    lines = []
    for name in sorted(files):
        try:
            lines.append(f"{_of_file(files[name], PurePosixPath(name).suffix)}  {name}\n")
        # Python's parser gives up in two ways on what is nested too deeply.
        except (SyntaxError, ValueError, LookupError, RecursionError, MemoryError) as error:
            msg = f"{name}: cannot be parsed, so its code has no digest ({error})"
            raise ValueError(msg) from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def of_bytes(files: Mapping[str, bytes]) -> str:
    """SHA-256 over files, by relative path with slashes and content, prose and all."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def blanked(source: bytes) -> str:
    """A Python source without comments, docstrings and blank lines.

    Any string that is a statement by itself is a docstring here, those of attributes among them.

    Raises:
        SyntaxError: It is no Python.
        ValueError: It is no Python (null bytes, where Python is older than 3.12).
    """
    return _without_comments(_without_docstrings(_decoded(source)))


@functools.lru_cache(maxsize=1024)  # the same few hundred files, asked for again and again
def _of_file(content: bytes, suffix: str) -> str:
    kept = blanked(content).encode() if suffix == ".py" else content.replace(b"\r\n", b"\n")
    return hashlib.sha256(kept).hexdigest()


def _decoded(source: bytes) -> str:
    """The text as Python reads it: by its declared encoding, with one kind of line end."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    text = source.decode(encoding)
    return re.sub(r"\r\n?", "\n", text)


def _without_docstrings(text: str) -> str:
    # Not str.splitlines, which also splits at form feeds and other characters inside of strings.
    rows = text.split("\n")
    found = [*_docstrings(ast.parse(text))]
    # Read only where a line before a docstring ends in a backslash: to find tokens takes longest.
    commented = functools.cache(lambda: _commented(text))
    # From the end, so that what is still to come stays where it is.
    for statement, is_all in sorted(found, key=_place, reverse=True):
        first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
        before = _cut(rows[first], statement.col_offset)[0]
        after = _cut(rows[last], statement.end_col_offset or 0)[1]
        # A backslash at the end of a comment continues nothing.
        continued = bool(first) and rows[first - 1].endswith("\\") and first - 1 not in commented()
        goes = not is_all and not continued and _has_lines_to_itself(before, after)
        rows[first : last + 1] = [before + ("" if goes else "pass") + after]
    return "\n".join(rows)


def _docstrings(tree: ast.AST) -> Iterator[tuple[ast.stmt, bool]]:
    """Statements that are strings, and whether one is all that stands where Python wants some."""
    for node in ast.walk(tree):
        for name in _BODIES:
            body = getattr(node, name, None)
            if isinstance(body, list):  # that of a lambda is an expression
                found = [statement for statement in body if _is_docstring(statement)]
                is_all = len(found) == len(body) and not isinstance(node, ast.Module)
                yield from ((statement, is_all and statement is found[0]) for statement in found)


def _place(found: tuple[ast.stmt, bool]) -> tuple[int, int]:
    return found[0].lineno, found[0].col_offset


def _is_docstring(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _cut(row: str, column: int) -> tuple[str, str]:
    """A line before and after a column as ``ast`` counts them, in bytes of UTF-8."""
    encoded = row.encode()
    return encoded[:column].decode(), encoded[column:].decode()


def _has_lines_to_itself(before: str, after: str) -> bool:
    """Whether nothing but white space and a comment is lost with the lines of a statement."""
    rest = after.strip()
    return not before.strip() and (not rest or rest.startswith("#"))


def _commented(text: str) -> set[int]:
    """The lines that end in a comment, by index."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return {token.start[0] - 1 for token in tokens if token.type == tokenize.COMMENT}


def _without_comments(text: str) -> str:
    rows = text.split("\n")
    inside: set[int] = set()  # lines that end within a string, by index
    opened: list[int] = []  # lines in which f-strings begin that have not ended; from Python 3.12
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        first, last = token.start[0] - 1, token.end[0] - 1
        if kind == "COMMENT":
            rows[first] = rows[first][: token.start[1]]
        elif kind.endswith("STRING_START"):
            opened.append(first)
        elif kind == "STRING":
            inside.update(range(first, last))
        elif kind.endswith("STRING_END"):
            inside.update(range(opened.pop(), last))
    return "".join(f"{row}\n" for row in _kept(rows, inside))


def _kept(rows: Sequence[str], inside: set[int]) -> Iterator[str]:
    """The lines that are not blank, without white space at their ends unless it is a string's."""
    is_continued = False
    for index, row in enumerate(rows):
        text = row if index in inside else row.rstrip()
        # The blank line after a backslash ends a statement.
        if text or index in inside or is_continued:
            yield text
        is_continued = text.endswith("\\")
