"""What each need accepts and refuses, on sources of a few lines."""

from __future__ import annotations

import pytest

from tests.contracts.contract_trees import MemoryTree
from value_steer.contracts.lookup import Sources
from value_steer.contracts.needs import (
    Accepts,
    AssignedFrom,
    Assigns,
    Calls,
    Compares,
    Constructible,
    Contains,
    DefinedBy,
    Exists,
    Extensible,
    Fields,
    Implementable,
    IsClass,
    Need,
    Order,
    Parameters,
    Property,
)

DATACLASS = "@dataclass\nclass X:\n    a: int\n    b: int = 0\n"
STRUCT = "class X(msgspec.Struct):\n    a: int\n    b: list = msgspec.field(default_factory=list)\n"
ABSTRACT = "class X(ABC):\n    @abstractmethod\n    def f(self): ...\n"
INHERITED = "@dataclass\nclass B:\n    a: int\n\n@dataclass\nclass X(B):\n    b: int = 0\n"


def problem(need: Need, source: str, symbol: str = "X") -> str | None:
    """What ``need`` finds wrong with ``symbol`` of a one-file tree."""
    sources = Sources(MemoryTree({"vllm/x.py": source}))
    return need.problem(sources.find("vllm/x.py", symbol), sources)


@pytest.mark.parametrize(
    ("need", "source"),
    [
        (Exists(), "X = 1"),
        (Exists(), "try:\n    X = fast\nexcept ImportError:\n    X = slow"),
        (IsClass(), "class X: ..."),
        (IsClass(("Module",)), "class X(nn.Module): ..."),
        (IsClass(("Generic",)), "class X(Generic[T]): ..."),
        (IsClass(("A",)), "class B(A): ...\nclass X(B): ..."),
        (Parameters(), "def X(): ..."),
        (Parameters(("a",)), "async def X(a, b=1, *args, c=2, **kwargs): ..."),
        (Parameters(("a",)), "def X(a, /): ..."),
        (Accepts(("c", "b")), "def X(a, b, *, c): ..."),
        (Fields(("b", "a")), DATACLASS),
        (Fields(("a", "b")), INHERITED),
        (Fields(("a",), writable=True), DATACLASS),
        (Fields(("a",), writable=True), "@dataclass(frozen=False)\nclass X:\n    a: int\n"),
        (Constructible(("a",)), DATACLASS),
        (Constructible(("a",)), STRUCT),
        (Constructible(("a",)), INHERITED),
        (Constructible(("a",)), DATACLASS + "    c: ClassVar[int]\n    _: KW_ONLY\n"),
        (Constructible(("a",)), "class X:\n    def __init__(self, a, b=0, *, c=1): ..."),
        (Assigns(("a",)), "class X:\n    def f(this):\n        this.a: int = 1"),
        (Assigns(("a", "b")), "class X:\n    def f(self):\n        (self.a, [self.b]) = 1, [2]"),
        (AssignedFrom("a", ("c.b",)), "class X:\n    def f(self, c):\n        self.a = c.b"),
        (AssignedFrom("a", ("d", "c.b")), "class X:\n    def f(self):\n        self.a = self.c.b"),
        (Calls("f"), "def X(): f()"),
        (Calls("a.f", 1, ("k",)), "def X(): a.f(1, 2, k=3, other=4)"),
        (Calls("f", 1), "def X(): return [f(1), f(2)]"),
        (Order("f", "g"), "def X():\n    f()\n    g()"),
        (Order("f", "g"), "def X(): return g(f())"),
        (Compares("p.eos"), "def X(p): return 1 == p.eos"),
        (Compares("p.eos"), "def X(r): return 1 in (r.p.eos or ())"),
        (Contains(("a.b + 1",)), "def X(a): return f(a.b  +\n1)"),
        (Contains(("a.b -= 1", "a.b = 1")), "def X(a):\n    if a:\n        a.b = 1"),
        (Contains(("self.a",)), "def X(self):\n    self.a: int | None = None"),
        (Extensible(), DATACLASS),
        (Extensible(), "class X(B): ..."),
        (Implementable(("f",)), ABSTRACT),
        (Implementable(("f", "g")), "class X(ABC):\n    @abstractmethod\n    def f(self): ..."),
        (
            Implementable(("f",)),
            ABSTRACT + "    @abstractmethod\n    def g(self): ...\n    g = 1\n",
        ),
    ],
)
def test_a_need_that_is_met_has_no_problem(need: Need, source: str) -> None:
    """Further optional arguments, fields and calls disturb nothing."""
    assert problem(need, source) is None


@pytest.mark.parametrize(
    ("need", "source", "found"),
    [
        (IsClass(), "X = 1", "found a variable"),
        (IsClass(), "def X(a, *, b=1): ...", "found the function (a, *, b=…)"),
        (IsClass(("Module",)), "class X(Base): ...", "found Base"),
        (IsClass(("Module",)), "class X: ...", "found none"),
        (Parameters(("a", "b")), "def X(b, a): ...", "needs (a, b); found (b, a)"),
        (Parameters(("a",)), "def X(a, b): ...", "found (a, b)"),
        (Parameters(("a",)), "def X(a, *args, b, **more): ...", "found (a, *args, b, **more)"),
        (Parameters(("a",)), "def X(*args, **kwargs): ...", "found (*args, **kwargs)"),
        (Parameters(("a",)), "def X(*, a): ...", "found (*, a)"),
        (Parameters(), "class X: ...", "found a class"),
        (Accepts(("a", "b")), "def X(a): ...", "needs the arguments b; found (a)"),
        (Accepts(("a",)), "def X(a, /): ...", "found (a)"),
        (Accepts(("a",)), "def X(**kwargs): ...", "found (**kwargs)"),
        (Accepts(("a",)), "X = 1", "found a variable"),
        (Fields(("a", "z")), DATACLASS, "needs the fields z; found a, b"),
        (Fields(("a",)), "class X:\n    a = 1", "found none"),
        (Fields(("a",)), "class X:\n    '''a: int'''\n    # a: int", "found none"),
        (Fields(("a",)), "def X(): ...", "found the function ()"),
        (
            Fields(("a",), writable=True),
            "@dataclass(frozen=True)\nclass X:\n    a: int",
            "found a frozen record",
        ),
        (
            Fields(("a",), writable=True),
            "class X(NamedTuple):\n    a: int",
            "found a frozen record",
        ),
        (Constructible(("a", "z")), DATACLASS, "found (a, b=…)"),
        (Constructible(()), STRUCT, "found (a, b=…)"),
        (Constructible(("b",)), INHERITED, "found (a, b=…)"),
        (Constructible(("a",)), "class X:\n    a: int", "found a plain class"),
        (Constructible(()), "class X:\n    def __init__(self, a): ...", "found (a)"),
        (Constructible(()), "X = 1", "found a variable"),
        (Assigns(("a",)), "class X:\n    def f(self, o):\n        o.a = self.b = 1", "self.a"),
        (Assigns(("a",)), "class X:\n    def f(self):\n        self.a = None", "self.a"),
        (Assigns(("a",)), "class X:\n    def f(self):\n        'self.a = 1'", "self.a"),
        (Assigns(("a",)), "class X:\n    def f(self):\n        self.a: int", "self.a"),
        (Assigns(("a",)), "X = 1", "found a variable"),
        (AssignedFrom("a", ("c.b",)), "class X: ...", "from c.b; found no method that assigns it"),
        (AssignedFrom("a", ("b",)), "class X:\n    def f(self):\n        self.a = cb", "found cb"),
        (AssignedFrom("a", ("b",)), "class X:\n    def f(self):\n        self.a = f(b)", "f(b)"),
        (AssignedFrom("a", ("b",)), "X = b", "found a variable"),
        (Calls("f"), "def X(): g('f()')  # f()", "needs a call f(); found none"),
        (Calls("f"), "X = f()", "found a variable"),
        (Calls("f", 1), "def X():\n    f(1)\n    f()", "needs the call f(…); found f()"),
        (Calls("f", 1), "def X(): f(*a)", "found f(*a)"),
        (Calls("f", 0, ("k",)), "def X(): f(**k)", "needs the call f(k=…); found f(**k)"),
        (Order("f", "g"), "def X():\n    g()\n    f()", "found the reverse"),
        (Order("f", "g"), "def X():\n    f()\n    g()\n    f()", "found the reverse"),
        (Order("f", "g"), "def X(): f(g())", "found the reverse"),
        (Order("f", "g"), "def X(): f()", "found no g()"),
        (Order("f", "g"), "class X: ...", "found a class"),
        (Compares("p.eos"), "def X(p): return p.eos", "found none"),
        (Compares("p.eos"), "def X(p): return step.eos == 1", "found none"),
        (Compares("p.eos"), "class X: ...", "found a class"),
        (Contains(("a.b + 1",)), "def X(a): return a.b + 1.0  # a.b + 1", "needs the code a.b + 1"),
        (Contains(("a.b + 1",)), "def X(a): return a.b + True", "found none"),
        (Contains(("a", "b")), "def X(): f('a', c)", "needs the code a or b; found none"),
        (Contains(("f(a)",)), "def X(): f(a, b)", "found none"),
        (Contains(("a = 1",)), "a = 1\nclass X: ...", "found a class"),
        (Extensible(), "class X(NamedTuple):\n    a: int", "found a NamedTuple"),
        (Extensible(), STRUCT, "found a Struct"),
        (Extensible(), "class X:\n    __slots__ = ('a',)", "found __slots__"),
        (Extensible(), "@dataclass(slots=True)\nclass X:\n    a: int", "found slots=True"),
        (Extensible(), "@dataclass(frozen=True)\nclass X:\n    a: int", "found frozen=True"),
        (Extensible(), "X = 1", "found a variable"),
        (Implementable(()), ABSTRACT, "found f as well"),
        (Implementable(("g",)), ABSTRACT.replace("X", "B") + "class X(B): ...", "found f"),
        (Implementable(("f",)), "X = 1", "found a variable"),
    ],
)
def test_a_need_that_is_not_met_says_what_is_there(need: Need, source: str, found: str) -> None:
    """The problem names what was found, so that nobody has to open the file to see it."""
    said = problem(need, source)

    assert said is not None
    assert said.startswith("needs ")
    assert found in said


@pytest.mark.parametrize(
    ("need", "decorator", "fits"),
    [
        (Parameters(), "", True),
        (Parameters(on_class=True), "", False),
        (Parameters(on_class=True), "@classmethod", True),
        (Parameters(), "@property", False),
        (Property(), "@property", True),
        (Property(), "@functools.cached_property", True),
        (Property(), "@functools.lru_cache()", False),
        (Property(), "", False),
    ],
)
def test_decorators_decide_how_a_member_is_reached(need: Need, decorator: str, fits: bool) -> None:  # noqa: FBT001
    """A property is not called, and only a class method is called on the class."""
    source = f"class X:\n    {decorator}\n    def m(self): ..."

    assert (problem(need, source, "X.m") is None) is fits


@pytest.mark.parametrize(
    ("source", "owner", "found"),
    [
        ("class X:\n    def m(self): ...", ("vllm/x.py", "X"), None),
        ("class B:\n    def m(self): ...\nclass X(B): ...", ("vllm/x.py", "B"), None),
        ("class B:\n    def m(self): ...\nclass X(B): ...", ("vllm/x.py", "X"), "found B of"),
        ("class B:\n    def m(self): ...\nclass X(B): ...", ("vllm/y.py", "B"), "found B of"),
    ],
    ids=["itself", "inherited", "not itself", "another file"],
)
def test_the_class_that_defines_a_member_is_told_from_those_that_inherit_it(
    source: str, owner: tuple[str, str], found: str | None
) -> None:
    """What is replaced in one class is as before in another that has its own."""
    said = problem(DefinedBy((("vllm/z.py", "Z"), owner)), source, "X.m")

    assert said == (
        found
        and f"needs it defined by Z of vllm/z.py or {owner[1]} of {owner[0]}; {found} vllm/x.py"
    )


def test_a_static_method_has_no_receiver() -> None:
    """All the parameters of a static method are given by the caller."""
    source = "class X:\n    @staticmethod\n    def m(a): ..."

    assert problem(Parameters(("a",), on_class=True), source, "X.m") is None


def test_setters_and_overloads_do_not_hide_the_definition() -> None:
    """A property with a setter is a property, and an overload is no signature."""
    source = (
        "class X:\n    @property\n    def m(self): ...\n    @m.setter\n    def m(self, v): ...\n"
        "def f(a): ...\n@overload\ndef f(b): ...\n"
    )

    assert problem(Property(), source, "X.m") is None
    assert problem(Parameters(("a",)), source, "f") is None
