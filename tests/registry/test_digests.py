"""What changes the digest of code, and what is prose."""

from __future__ import annotations

import ast
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.registry import digests

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

SOURCE = '''\
#!/usr/bin/env python
# A comment on its own.
"""Docstring of a module."""

from __future__ import annotations

LIMIT: int = 3  # why three
"""Docstring of a constant."""


class Head(Base):
    """Docstring of a class."""

    size: float = 1.5
    """Docstring of an attribute: ÄÖÜ 漢字."""


@cached(size=2)
def act(value: int, *, floor: float = 0.5) -> str:
    """Docstring of a function.

    # no comment
    """
    # Another comment.
    if value < LIMIT and floor:
        return f"ended {value:.2f}" + """
        # part of a string

        """
    return "kept # here"


async def wait(): """Only a docstring: ü."""; "and another"


def nothing():
    """All there is."""


for _ in range(3): "a"; act(1)  # one
'''

PROSE = (
    ("A comment on its own.", "Something else, 漢字."),
    ("# A comment on its own.\n", ""),
    ("# A comment on its own.\n", "# One.\n\n# Two.\n"),
    ("# why three", "# because"),
    ("  # why three", ""),
    ("Docstring of a module.", "Another."),
    ('"""Docstring of a module."""\n', ""),
    ("Docstring of a constant.", "Another\n\nwith lines."),
    ("Docstring of a class.", "Ääh."),
    ('    """Docstring of a class."""\n', ""),
    ("Docstring of an attribute: ÄÖÜ 漢字.", "none"),
    ("    # no comment\n", ""),
    ("    # Another comment.\n", ""),
    ("Only a docstring: ü.", "a; b"),
    ("and another", "and # more"),
    ("All there is.", "That is all."),
    ('    """All there is."""', "    pass"),
    ('"a"; act', '"漢字"; act'),
    ("\n\n\nclass", "\n\n\n\n\n\nclass"),
    ("act(1)  # one\n", "act(1)\n\n\n\n"),
    ("act(1)  # one\n", "act(1)"),
    ("from __future__", "\f\nfrom __future__"),
    ("\n", "\r\n"),
    ("\n", "\r"),
)
CODE = (
    ("value < LIMIT", "value <= LIMIT"),
    ("and floor", "or floor"),
    ("= 0.5", "= 0.6"),
    ("= 3 ", "= 4 "),
    (": int = 3", " = 3"),
    ("value: int", "value: float"),
    ("-> str", "-> bytes"),
    ("size=2", "size=3"),
    ("@cached(size=2)\n", ""),
    ("(Base)", "(Other)"),
    ("ended", "stopped"),
    (":.2f", ":.3f"),
    ("kept # here", "kept # there"),
    ("        # part of a string\n", ""),
    ("part of a string\n\n", "part of a string\n"),
    ("part of a string\n", "part of a string \n"),
    ("async def", "def"),
    ("def nothing", "def something"),
    ("act(1)", "act(2)"),
    ('"a"; act(1)', '"a"'),
    ("from __future__ import annotations\n", ""),
)


def of(source: str) -> str:
    """The digest of one module."""
    return digests.of_files({"module.py": source.encode()})


@pytest.mark.parametrize(("old", "new"), PROSE)
def test_prose_leaves_the_digest(old: str, new: str) -> None:
    """Comments, docstrings of whatever, blank lines and line ends can be changed, added."""
    assert old in SOURCE

    assert of(SOURCE.replace(old, new)) == of(SOURCE)


@pytest.mark.parametrize(("old", "new"), CODE)
def test_code_changes_the_digest(old: str, new: str) -> None:
    """Operators, constants, defaults, annotations, decorators, names, strings that are used."""
    assert old in SOURCE

    assert of(SOURCE.replace(old, new)) != of(SOURCE)


@settings(max_examples=50, deadline=None)
@given(st.text().filter(lambda text: '"""' not in text))
def test_any_docstring_leaves_the_digest(text: str) -> None:
    """Whatever stands in it, comments and quotes among it."""
    body = text.replace("\\", "\\\\").replace("\0", "").rstrip('"')
    body = body.encode("utf-8", "replace").decode()

    for place in ("Docstring of a module.", "All there is.", "Only a docstring: ü."):
        assert of(SOURCE.replace(place, body)) == of(SOURCE)


@pytest.mark.parametrize("comment", ["# why \\", "  # C:\\", "x = '#'  # and \\"])
def test_a_comment_that_ends_in_a_backslash_continues_nothing(comment: str) -> None:
    """The docstring of an attribute that follows it is prose like any other."""
    before, line, after = SOURCE.partition("    size: float = 1.5\n")
    assert line

    documented = f"{before}{line}    {comment}\n{after}"
    bare = documented.replace('    """Docstring of an attribute: ÄÖÜ 漢字."""\n', "")
    assert bare != documented
    assert of(documented) == of(bare)


def test_the_digest_is_the_same_on_every_python() -> None:
    """A constant, which the tests on each Python compare with."""
    assert of(SOURCE) == "e4464f0b8f8cee33adcd2246587625881f628212bc5f4e1aabcc0aae0521d9f1"


@pytest.mark.parametrize(
    "source",
    [
        'x = 1; "doc"',
        '"doc"; x = 1',
        'if x: "doc"',
        'if x:\n    "one"\n    "two"\nelse:\n    "three"',
        'try:\n    "one"\nexcept E:\n    "two"\nfinally:\n    "three"',
        'match x:\n    case 1:\n        "one"',
        '"one" \\\n"two"\nx = 1',
        "x = 1 \\\n\ny = 2",
        'x = 1\n\\\n"doc"\ny = 2',
        '("in parentheses"  # really\n "joined")\nx = 1',
        "def f():\n\t'tabs'\n\treturn 1",
        'x = ("a"  # why\n\n     "b")',
        'x = f"""{\n1\n}\n\n#"""',
        "f'{x}'",
        "b'bytes'",
        "",
        "\n\n# nothing",
    ],
)
def test_what_is_left_means_the_same(source: str) -> None:
    """Odd places for a docstring, and odd blank lines."""
    left = digests.blanked(source.encode())

    assert _mean_the_same(left, source)
    assert digests.blanked(left.encode()) == left


def _own_sources() -> Iterator[Path]:
    for folder in ("value_steer", "compat"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_what_is_left_of_every_source_means_the_same() -> None:
    """It compiles to the code that ``python -OO`` runs, and nothing more could be blanked."""
    sources = list(_own_sources())

    assert len(sources) > 200
    for path in sources:
        source = path.read_bytes()
        left = digests.blanked(source)
        assert _mean_the_same(left, source), path
        assert digests.blanked(left.encode()) == left, path


def _mean_the_same(left: str, source: str | bytes) -> bool:
    """Whether Python makes the same of them with ``-OO``, which strips docstrings itself."""
    return _alike(_compiled(left), _compiled(source))


def _compiled(source: str | bytes) -> CodeType:
    tree = ast.parse(source)
    for node in ast.walk(tree):  # where something stands is told apart by some instructions
        for name in node._attributes:
            setattr(node, name, 1)
    return compile(tree, "module", "exec", optimize=2, dont_inherit=True)


def _alike(one: object, other: object) -> bool:
    if not isinstance(one, CodeType) or not isinstance(other, CodeType):
        return (type(one), one) == (type(other), other)
    names = ("co_name", "co_names", "co_varnames", "co_freevars", "co_argcount", "co_flags")
    same = all(getattr(one, name) == getattr(other, name) for name in (*names, "co_code"))
    same = same and len(one.co_consts) == len(other.co_consts)
    return same and all(map(_alike, one.co_consts, other.co_consts))


def test_a_source_with_other_encoding_is_read_as_python_reads_it() -> None:
    """A byte order mark and a declared encoding are no part of the code."""
    text = "x = 'ä'\n"

    latin = b"# -*- coding: latin-1 -*-\n" + text.encode("latin-1")
    assert digests.of_files({"a.py": latin}) == digests.of_files({"a.py": text.encode()})
    marked = text.encode("utf-8-sig")
    assert digests.of_files({"a.py": marked}) == digests.of_files({"a.py": text.encode()})


@pytest.mark.parametrize("source", [b"def", b"x = '\xff'", b"x = 1\0", b"# -*- coding: none -*-"])
def test_what_is_no_python_has_no_digest(source: bytes) -> None:
    """The error names the file."""
    with pytest.raises(ValueError, match=r"folder/bad\.py: cannot be parsed"):
        digests.of_files({"good.py": b"", "folder/bad.py": source})


def test_other_files_count_as_they_are() -> None:
    """Settings have no prose that is known here; names and line ends are as with code."""
    kept = digests.of_files({"a.ini": b"# one\n"})

    assert digests.of_files({"a.ini": b"# one\r\n"}) == kept
    assert digests.of_files({"a.ini": b"# two\n"}) != kept
    assert digests.of_files({"b.ini": b"# one\n"}) != kept
