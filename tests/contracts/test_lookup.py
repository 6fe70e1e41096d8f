"""Finding definitions through re-exports and base classes, and saying why they are not found."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.contracts.contract_trees import MemoryTree
from value_steer.contracts.lookup import (
    FileMissingError,
    Sources,
    SymbolMissingError,
)
from value_steer.contracts.modules import FileUnreadableError
from value_steer.contracts.needs import Fields, IsClass, Parameters


def sources(**files: str) -> Sources:
    """A tree of modules ``vllm/<name>.py``; a double underscore stands for a slash."""
    paths = {f"vllm/{name.replace('__', '/')}.py": text for name, text in files.items()}
    return Sources(MemoryTree(paths))


@pytest.mark.parametrize(
    "a",
    [
        "from vllm.b import X",
        "from .b import X",
        "from vllm.b import Y as X",
        "try:\n    from vllm.b import X\nfinally:\n    pass",
        "if sys.version_info > (3, 9):\n    from vllm.b import X",
        "if fast:\n    pass\nelse:\n    from vllm.b import X",
        "try:\n    pass\nexcept ImportError:\n    from vllm.b import X",
        "try:\n    pass\nfinally:\n    from vllm.b import X",
        "with quiet():\n    from vllm.b import X",
        "if TYPE_CHECKING:\n    pass\nelse:\n    from vllm.b import X",
    ],
)
def test_a_name_is_followed_to_where_it_is_defined(a: str) -> None:
    """A module may hand a name on from another one."""
    found = sources(a=a, b="class X: ...\nclass Y: ...").find("vllm/a.py", "X")

    assert found.module.path == "vllm/b.py"


def test_a_package_hands_on_names_of_its_modules() -> None:
    """A relative import in an ``__init__.py`` begins at its own folder, and leads to it."""
    tree = MemoryTree(
        {
            "vllm/p/__init__.py": "from .q import X\nfrom ..top import Y",
            "vllm/p/q.py": "X = 1\nfrom . import Y",
            "vllm/top/__init__.py": "Y = 2",
        }
    )
    found = Sources(tree)

    assert found.find("vllm/p/__init__.py", "X").module.path == "vllm/p/q.py"
    assert found.find("vllm/p/__init__.py", "Y").module.path == "vllm/top/__init__.py"
    assert found.find("vllm/p/q.py", "Y").module.path == "vllm/top/__init__.py"


@pytest.mark.parametrize(
    "head", ["from vllm.b import B\nclass X(B):", "from .b import B\nclass X(B[int]):"]
)
def test_a_member_may_be_inherited_from_another_file(head: str) -> None:
    """A class has the members of its base classes, its own first."""
    found = sources(
        a=f"{head}\n    def own(self): ...",
        b="class A:\n    def deep(self): ...\nclass B(A):\n    def own(self): ...",
    )

    assert found.find("vllm/a.py", "X.deep").module.path == "vllm/b.py"
    assert found.find("vllm/a.py", "X.own").module.path == "vllm/a.py"


def test_bases_are_searched_in_the_order_of_attribute_lookup() -> None:
    """The first base and its own bases come before the second base."""
    text = "class A:\n    m = 1\nclass B(A): ...\nclass C:\n    m = 2\nclass X(B, C): ..."
    owner = sources(a=text).find("vllm/a.py", "X.m").owner

    assert owner is not None
    assert owner.name == "A"


def test_a_stub_of_a_base_class_is_not_inherited() -> None:
    """An interface that only raises NotImplementedError has not got the member."""
    stub = "    def m(self):\n        'Doc.'\n        raise NotImplementedError"
    code = "    def n(self):\n        self.work()\n        raise NotImplementedError"
    found = sources(a=f"class B:\n{stub}\n{code}\nclass X(B): ...\n")

    assert found.find("vllm/a.py", "B.m").name == "m"
    assert found.find("vllm/a.py", "X.n").name == "n"
    with pytest.raises(SymbolMissingError):
        found.find("vllm/a.py", "X.m")


def test_a_base_that_is_no_class_of_the_package_is_passed_over() -> None:
    """Nothing is read but vLLM, and neither a foreign base nor a variable hides the next one."""
    text = (
        "from abc import ABC\nV = made()\nclass B:\n    m = 1\nclass X(nn.Module, ABC, V, B): ..."
    )

    assert sources(a=text).find("vllm/a.py", "X.m").name == "m"


def order(text: str) -> list[str]:
    """The classes in which Python looks for an attribute of ``X``."""
    found = sources(a=text)
    first = found.find("vllm/a.py", "X").as_class()
    assert first is not None
    return [one.node.name for one in islice(found.lineage(first), 9)]


@pytest.mark.parametrize(
    "text",
    [
        "class A: ...\nclass B(A): ...\nclass C(A): ...\nclass X(B, C): ...",
        "class A: ...\nclass B(A): ...\nclass C: ...\nclass X(B, C): ...",
        "class A: ...\nclass B: ...\nclass C(A, B): ...\nclass D(A): ...\nclass X(D, C): ...",
        "class A: ...\nclass B(A): ...\nclass C(A): ...\nclass D(B): ...\nclass X(D, C, A): ...",
    ],
    ids=["two ways", "one way", "a base and its derived one", "a long way"],
)
def test_bases_are_looked_into_as_python_does(text: str) -> None:
    """Python itself is asked; a base that several derive from comes after all of them, once."""
    made: dict[str, type] = {}
    exec(text, made)  # noqa: S102 - a source of four lines, above

    assert order(text) == [one.__name__ for one in made["X"].__mro__[:-1]]


def test_a_member_is_of_the_class_that_python_takes_it_from() -> None:
    """The second base has its own, and the first has it only from the base of both."""
    text = "class A:\n    m = 1\nclass B(A): ...\nclass C(A):\n    m = 2\nclass X(B, C): ..."
    owner = sources(a=text).find("vllm/a.py", "X.m").owner

    assert owner is not None
    assert owner.name == "C"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class X(A): ...\nclass A(X): ...", "A is among its own bases"),
        ("class X:\n    m = 1\nclass X(X): ...", "X is among its own bases"),
        (
            "class A: ...\nclass B(A): ...\nclass X(A, B): ...",
            "X has bases in no consistent order",
        ),
    ],
    ids=["a circle", "an earlier one of the name", "no order"],
)
def test_bases_that_cannot_be_followed_are_told_at_the_end(text: str, said: str) -> None:
    """What the class has itself was found before; of what it has not nobody can say."""
    found = sources(a=f"{text}\n    own = 1".replace("...\n    own", "\n    own"))

    assert found.find("vllm/a.py", text.splitlines()[-1][6] + ".own").name == "own"
    with pytest.raises(SymbolMissingError, match=f"^vllm/a.py: {said}$"):
        found.find("vllm/a.py", "X.m")


def test_a_base_without_order_still_has_what_its_own_bases_have() -> None:
    """Nothing that stands there is called missing."""
    text = "class A:\n    m = 1\nclass B(A): ...\nclass X(A, B): ..."

    assert sources(a=text).find("vllm/a.py", "X.m").name == "m"


@pytest.mark.parametrize(
    ("head", "base"),
    [
        ("import vllm.p.b as b", "b.B"),
        ("import vllm.p.b", "vllm.p.b.B"),
        ("from vllm.p import b", "b.B"),
        ("from .p import b as c", "c.B[int]"),
        ("from vllm import p", "p.b.B"),
    ],
)
def test_a_base_may_be_reached_through_its_module(head: str, base: str) -> None:
    """A class that is written ``module.B`` is of the package as much as ``B``."""
    tree = {
        "vllm/a.py": f"{head}\nclass X({base}): ...",
        "vllm/p/__init__.py": "",
        "vllm/p/b.py": "class B:\n    def m(self): ...",
    }

    assert Sources(MemoryTree(tree)).find("vllm/a.py", "X.m").module.path == "vllm/p/b.py"


@pytest.mark.parametrize(
    ("head", "base"),
    [
        ("import torch.nn as nn", "nn.Module"),
        ("import torch", "torch.nn.Module"),
        ("from torch import nn", "nn.Module"),
        ("class A: ...", "A.Inner"),
        ("", "made(1)"),
    ],
)
def test_a_base_that_is_not_of_the_package_is_no_failure(head: str, base: str) -> None:
    """Its class has what it has."""
    assert order(f"{head}\nclass X({base}): ...") == ["X"]


@pytest.mark.parametrize(
    ("a", "symbol", "error"),
    [
        ("", "X", SymbolMissingError),
        ("class X: ...", "X.m", SymbolMissingError),
        ("X = 1", "X.m", SymbolMissingError),
        ("'class X: ...'\n# class X: ...", "X", SymbolMissingError),
        ("from torch import X", "X", SymbolMissingError),
        ("from vllm.b import X", "X", SymbolMissingError),
        ("from vllm.gone import X", "X", FileMissingError),
        ("def (", "X", FileUnreadableError),
        ("X = 1\0", "X", FileUnreadableError),
        ("from vllm.a import X", "X", SymbolMissingError),
        ("import vllm.b as X", "X", SymbolMissingError),
        ("import torch as X", "X", SymbolMissingError),
        ("import vllm.gone as g\nclass X(g.B): ...", "X.m", FileMissingError),
        ("from vllm.gone import B\nclass X(B): ...", "X.m", FileMissingError),
        ("from vllm.b import B\nclass X(B): ...", "X.m", SymbolMissingError),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    X = 1", "X", SymbolMissingError),
        ("if TYPE_CHECKING:\n    if new:\n        X = 1", "X", SymbolMissingError),
        (
            "if TYPE_CHECKING:\n    if TYPE_CHECKING: ...\n    else: X = 1",
            "X",
            SymbolMissingError,
        ),
        ("X: int", "X", SymbolMissingError),
    ],
)
def test_what_is_not_found_is_told_apart(a: str, symbol: str, error: type[Exception]) -> None:
    """A file that is not there, a name that is not there, and a file that is not Python differ."""
    with pytest.raises(error):
        sources(a=a, b="").find("vllm/a.py", symbol)


def test_what_is_not_python_is_told_with_its_line() -> None:
    """The reader of the message finds the place."""
    with pytest.raises(FileUnreadableError, match=r"^vllm/a\.py cannot be parsed: .*a\.py, line 2"):
        sources(a="X = 1\ndef (").find("vllm/a.py", "X")


def test_a_missing_file_is_missing() -> None:
    """Of a file that is not in the tree nothing is said but that."""
    with pytest.raises(FileMissingError, match=r"vllm/z\.py is not in this tree"):
        sources().find("vllm/z.py", "X")


def test_a_base_that_was_not_read_matters_only_to_what_was_not_found() -> None:
    """A need that the class meets by itself asks nothing of a base whose file is missing."""
    found = sources(a="from vllm.gone import B\nclass X(B):\n    own: int")
    symbol = found.find("vllm/a.py", "X")

    assert Fields(("own",)).problem(symbol, found) is None
    assert IsClass(("B",)).problem(symbol, found) is None
    with pytest.raises(FileMissingError, match="gone"):
        Fields(("other",)).problem(symbol, found)


def test_a_declaration_counts_where_the_module_makes_names_on_demand() -> None:
    """``if TYPE_CHECKING: name: type`` is a name of a module whose ``__getattr__`` knows it."""
    text = "if typing.TYPE_CHECKING:\n    X: int\n    Y: int\nMADE = {'X': 1}\n"
    made = sources(a=f"{text}def __getattr__(name): return MADE[name]")

    assert made.find("vllm/a.py", "X").name == "X"
    for found, name in ((made, "Y"), (sources(a=text), "X")):
        with pytest.raises(SymbolMissingError, match=f"does not define {name}"):
            found.find("vllm/a.py", name)


@pytest.mark.parametrize(
    "text",
    [
        "from vllm.b import X",
        "try:\n    from vllm.b import X\nexcept ImportError:\n    X = None",
        "try:\n    from vllm.b import X\nexcept ImportError:\n    def X(wrong): ...",
        "from vllm.b import X as Y\nX = Y",
        "from vllm.b import X as _X\nif not TYPE_CHECKING:\n    X = _X\nelse:\n    class X: ...",
        "if TYPE_CHECKING:\n    class X: ...\nelse:\n    from vllm.b import X",
    ],
)
def test_a_name_is_what_it_is_where_the_module_is_imported(text: str) -> None:
    """Not what replaces it where an import fails, and not what type checkers are told."""
    found = sources(a=text, b="def X(a): ...").find("vllm/a.py", "X")

    assert Parameters(("a",)).problem(found, sources()) is None


def test_where_an_import_fails_its_replacement_counts() -> None:
    """A checkout that was never built has no ``_version.py``."""
    text = "try:\n    from ._gone import X\nexcept ImportError:\n    X = 'dev'"

    assert sources(a=text).find("vllm/a.py", "X").module.path == "vllm/a.py"


def test_what_only_type_checkers_see_is_no_member() -> None:
    """Neither a method nor a field."""
    text = "class X:\n    if TYPE_CHECKING:\n        f: int\n        def g(self): ...\n    h: int"
    found = sources(a=text)

    assert Fields(("f",)).problem(found.find("vllm/a.py", "X"), found) is not None
    assert Fields(("h",)).problem(found.find("vllm/a.py", "X"), found) is None
    with pytest.raises(SymbolMissingError, match="no member g"):
        found.find("vllm/a.py", "X.g")


def test_an_annotation_does_not_hide_what_a_base_defines() -> None:
    """A mixin says what it expects of its neighbours, and binds nothing."""
    text = "class M:\n    f: object\nclass B:\n    def f(self, a): ...\nclass X(M, B): ..."
    found = sources(a=text)

    assert Parameters(("a",)).problem(found.find("vllm/a.py", "X.f"), found) is None
    assert found.find("vllm/a.py", "M.f").name == "f"


def test_the_source_of_others_does_not_make_warnings() -> None:
    """An invalid escape sequence in vLLM's source is not reported to the user."""
    assert sources(a="X = '\\d'").find("vllm/a.py", "X").name == "X"


def test_a_file_is_read_once() -> None:
    """However many rows ask for a file, it is read and parsed a single time."""
    asked: list[str] = []

    class Counting(MemoryTree):
        def read(self, path: str) -> str | None:
            asked.append(path)
            return super().read(path)

    found = Sources(Counting({"vllm/a.py": "from vllm.b import X\nY = 1", "vllm/b.py": "X = 1"}))
    for name in ("X", "Y", "X"):
        found.find("vllm/a.py", name)

    assert asked == ["vllm/a.py", "vllm/b.py"]
