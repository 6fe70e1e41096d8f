"""What each need accepts and refuses, on sources of a few lines."""

from __future__ import annotations

from textwrap import indent

import pytest

from tests.contracts.contract_trees import problem
from value_steer.contracts.needs import (
    Accepts,
    AssignedFrom,
    Assigns,
    Constructible,
    DefinedBy,
    Exists,
    Extensible,
    Fields,
    Implementable,
    IsClass,
    Need,
    Parameters,
    Property,
)

DATACLASS = "@dataclass\nclass X:\n    a: int\n    b: int = 0\n"
STRUCT = "class X(msgspec.Struct):\n    a: int\n    b: list = msgspec.field(default_factory=list)\n"
ABSTRACT = "class X(ABC):\n    @abstractmethod\n    def f(self): ...\n"
METHOD = "class X:\n    def f(self):\n        "
INHERITED = "@dataclass\nclass B:\n    a: int\n\n@dataclass\nclass X(B):\n    b: int = 0\n"

UNASSIGNED = "self.a to be assigned; found no method that does"
PLAIN = "class B:\n    def __init__(self, a): ...\n"
FROZEN = "fields that can be assigned; found a frozen record"
OPEN = "instances that take an attribute"


@pytest.mark.parametrize(
    ("need", "source"),
    [
        (Exists(), "X = 1"),
        (Exists(), "try:\n    X = fast\nexcept ImportError:\n    X = slow"),
        (IsClass(), "class X: ..."),
        (IsClass(("Module",)), "class X(nn.Module): ..."),
        (IsClass(("Generic",)), "class X(Generic[T]): ..."),
        (IsClass(("A",)), "class B(A): ...\nclass X(B): ..."),
        (IsClass(("A", "C")), "class B(A): ...\nclass X(B, C): ..."),
        (Parameters(), "def X(): ..."),
        (Parameters(("a",)), "def X(a, b=1, *args, c=2, **kwargs): ..."),
        (Parameters(("a",), awaited=True), "async def X(a): ..."),
        (Parameters(("a",)), "def X(a):\n    def inner(): yield a\n    return inner"),
        (Accepts(("a",), awaited=True), "async def X(b, a): ..."),
        (Parameters(("a",)), "def X(a, /): ..."),
        (Accepts(("c", "b")), "def X(a, b, *, c): ..."),
        (Fields(("b", "a")), DATACLASS),
        (Fields(("a", "b")), INHERITED),
        (Fields(("a",), writable=True), DATACLASS),
        (Fields(("a",), writable=True), "@dataclass(frozen=False)\nclass X:\n    a: int\n"),
        (Constructible(("a",)), DATACLASS),
        (Fields(("a",), writable=True), "class X(Struct, frozen=False):\n    a: int\n"),
        (
            Fields(("a",), writable=True),
            "class B(Struct, frozen=True): ...\nclass X(B, frozen=False):\n    a: int\n",
        ),
        (Constructible(("a",)), STRUCT),
        (Constructible(("a",)), DATACLASS + "    c: int = field(init=False)\n"),
        (Constructible(("a",)), DATACLASS + "    c: int = Field(default=1, init=True)\n"),
        (Constructible(("a",)), f"{PLAIN}class X(B): ..."),
        (Constructible(("a",)), f"{DATACLASS.replace('X', 'B')}class X(B):\n    c: int"),
        (Constructible(("a",)), INHERITED),
        (Constructible(("a",)), DATACLASS + "    c: int = made()\n    d: int = Field(1)\n"),
        (Constructible(("a",)), DATACLASS + "    c: ClassVar[int]\n    _: KW_ONLY\n"),
        (Constructible(("a",)), "class X:\n    def __init__(self, a, b=0, *, c=1): ..."),
        (Assigns(("a",)), "class X:\n    def f(this):\n        this.a: int = 1"),
        (Assigns(("a", "b")), f"{METHOD}(self.a, [self.b]) = 1, [2]"),
        (Assigns(("a",)), f"{METHOD}self.a, b = f()"),
        (Assigns(("a",)), f"{METHOD}self.a, *b = None, 1"),
        (Assigns(("a",)), f"{METHOD}self.a, b = *c, None"),
        (
            Assigns(("a", "b")),
            f"{METHOD.replace('X', 'B')}self.a = 1\n{METHOD.replace('X', 'X(B)')}self.b = 1",
        ),
        (AssignedFrom("a", ("c.b",)), "class X:\n    def f(self, c):\n        self.a = c.b"),
        (AssignedFrom("a", ("d", "c.b")), f"{METHOD}self.a = self.c.b"),
        (Extensible(), DATACLASS),
        (Extensible(), "class X(B): ..."),
        (Extensible(), "@dataclass(frozen=False, kw_only=True)\nclass X:\n    a: int"),
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
    ("need", "source", "said"),
    [
        (IsClass(), "X = 1", "a class; found a variable"),
        (IsClass(), "def X(a, *, b=1): ...", "a class; found the function (a, *, b=…)"),
        (IsClass(("Module",)), "class X(Base): ...", "the bases Module; found Base"),
        (IsClass(("Module",)), "class X: ...", "the bases Module; found none"),
        (IsClass(("B", "A")), "class X(E, C, G, D, F): ...", "the bases B, A; found C, D, E, F, G"),
        (Parameters(("a", "b")), "def X(b, a): ...", "(a, b); found (b, a)"),
        (Parameters(("a",)), "def X(a, b): ...", "(a); found (a, b)"),
        (Parameters(("a",)), "def X(a, *args, b, **more): ...", "(a); found (a, *args, b, **more)"),
        (Parameters(("a",)), "def X(*args, **kwargs): ...", "(a); found (*args, **kwargs)"),
        (Parameters(("a",)), "def X(*, a): ...", "(a); found (*, a)"),
        (Parameters(), "class X: ...", "a function; found a class"),
        (Accepts(("a", "b")), "def X(a): ...", "the arguments b; found (a)"),
        (Accepts(("a", "b")), "def X(): ...", "the arguments a, b; found ()"),
        (Accepts(("a",)), "def X(a, /): ...", "the arguments a; found (a)"),
        (Accepts(("a",)), "def X(**kwargs): ...", "the arguments a; found (**kwargs)"),
        (Accepts(("a",)), "X = 1", "a function; found a variable"),
        (Fields(("a", "z")), DATACLASS, "the fields z; found a, b"),
        (Fields(("y", "z")), DATACLASS, "the fields y, z; found a, b"),
        (Fields(("a",)), "class X:\n    a = 1", "the fields a; found none"),
        (Fields(("a",)), "class X:\n    '''a: int'''\n    # a: int", "the fields a; found none"),
        (Fields(("a",)), "def X(): ...", "a class with fields; found the function ()"),
        (Fields(("a",), writable=True), "@dataclass(frozen=True)\nclass X:\n    a: int", FROZEN),
        (Fields(("a",), writable=True), "class X(NamedTuple):\n    a: int", FROZEN),
        (Fields(("a",), writable=True), "class X(Struct, frozen=True):\n    a: int", FROZEN),
        (
            Fields(("a",), writable=True),
            "class B(Struct, frozen=True): ...\nclass X(B):\n    a: int",
            FROZEN,
        ),
        (
            Fields(("a",), writable=True),
            "class B(NamedTuple): ...\nclass X(B):\n    a: int",
            FROZEN,
        ),
        (Constructible(("a", "z")), DATACLASS, "to be made from (a, z); found (a, b=…)"),
        (Constructible(()), STRUCT, "to be made from (); found (a, b=…)"),
        (
            Constructible(("a",)),
            DATACLASS + "    c: int = field(repr=False)\n",
            "to be made from (a); found (a, b=…, c)",
        ),
        (
            Constructible(("a",)),
            DATACLASS + "    c: int = Field(...)\n    d: int = Field(default=..., gt=0)\n",
            "to be made from (a); found (a, b=…, c, d)",
        ),
        (
            Constructible(("a", "c")),
            DATACLASS + "    c: int = field(init=False)\n",
            "to be made from (a, c); found (a, b=…)",
        ),
        (Constructible(()), f"{PLAIN}class X(B): ...", "to be made from (); found (a)"),
        (
            Constructible(("a", "c")),
            f"{DATACLASS.replace('X', 'B')}class X(B):\n    c: int",
            "to be made from (a, c); found (a, b=…)",
        ),
        (Constructible(("b",)), INHERITED, "to be made from (b); found (a, b=…)"),
        (
            Constructible(("a",)),
            "class X:\n    a: int",
            "a dataclass, named tuple or struct; found a plain class",
        ),
        (
            Constructible(()),
            "class X:\n    def __init__(self, a): ...",
            "to be made from (); found (a)",
        ),
        (Constructible(()), "X = 1", "a class; found a variable"),
        (Assigns(("a",)), "class X:\n    def f(self, o):\n        o.a = self.b = 1", UNASSIGNED),
        (Assigns(("a",)), f"{METHOD}self.a = None", UNASSIGNED),
        (Assigns(("a",)), f"{METHOD}'self.a = 1'", UNASSIGNED),
        (Assigns(("a",)), f"{METHOD}self.a: int", UNASSIGNED),
        (Assigns(("a",)), f"{METHOD}self.a, b = None, 1", UNASSIGNED),
        (Assigns(("a",)), f"{METHOD}[b, (self.a, c)] = 1, [None, 2]", UNASSIGNED),
        (Assigns(("a",)), "class X:\n    def f():\n        g().a = 1", UNASSIGNED),
        (
            Assigns(("a",)),
            "class X:\n    @staticmethod\n    def f(o):\n        o.a = 1",
            UNASSIGNED,
        ),
        (
            Assigns(("a", "b")),
            "class X: ...",
            "self.a, self.b to be assigned; found no method that does",
        ),
        (Assigns(("a",)), "class X:\n    @staticmethod\n    def f():\n        o.a = 1", UNASSIGNED),
        (Assigns(("a",)), "X = 1", "a class; found a variable"),
        (
            AssignedFrom("a", ("c.b",)),
            "class X: ...",
            "self.a from c.b; found no method that assigns it",
        ),
        (AssignedFrom("a", ("b",)), f"{METHOD}self.a, c = d, b", "self.a from b; found d"),
        (AssignedFrom("a", ("b",)), f"{METHOD}self.a = cb", "self.a from b; found cb"),
        (AssignedFrom("a", ("b",)), f"{METHOD}self.a = f(b)", "self.a from b; found f(b)"),
        (AssignedFrom("a", ("b",)), f"{METHOD}self.a = f().b", "self.a from b; found f().b"),
        (
            AssignedFrom("a", ("b", "c")),
            f"{METHOD}self.a = b\n        self.a = d",
            "self.a from b or c; found b, d",
        ),
        (
            AssignedFrom("a", ("b",)),
            f"{METHOD}self.a = b\n        self.a &= c",
            "self.a from b; found b, self.a & c",
        ),
        (AssignedFrom("a", ("b",)), "X = b", "a class; found a variable"),
        (
            Parameters(("a",)),
            "async def X(a): ...",
            "a function that is called; found one that is awaited",
        ),
        (
            Parameters(("a",), awaited=True),
            "def X(a): ...",
            "a function that is awaited; found one that is called",
        ),
        (
            Accepts(("a",)),
            "def X(a):\n    if a: yield",
            "a function that is called; found one that is iterated over",
        ),
        (
            Parameters(("a",)),
            "@contextmanager\ndef X(a): yield",
            "a function that is called; found one that is entered",
        ),
        (Extensible(), "class X(NamedTuple):\n    a: int", f"{OPEN}; found a NamedTuple"),
        (Extensible(), STRUCT, f"{OPEN}; found a Struct"),
        (Extensible(), STRUCT.replace("X", "B") + "class X(B): ...", f"{OPEN}; found a Struct"),
        (Extensible(), "class X:\n    __slots__ = ('a',)", f"{OPEN}; found __slots__"),
        (Extensible(), "@dataclass(slots=True)\nclass X:\n    a: int", f"{OPEN}; found slots=True"),
        (
            Extensible(),
            "@dataclass(frozen=True)\nclass X:\n    a: int",
            f"{OPEN}; found frozen=True",
        ),
        (Extensible(), "class X(TypedDict):\n    a: int", f"{OPEN}; found a TypedDict"),
        (Extensible(), "class X(BaseModel):\n    a: int", f"{OPEN}; found a BaseModel"),
        (Extensible(), "@attrs.define\nclass X: ...", f"{OPEN}; found a class made by define"),
        (
            Extensible(),
            "@config(config=ConfigDict(frozen=True))\nclass X: ...",
            f"{OPEN}; found frozen=True",
        ),
        (
            Extensible(),
            "@dataclass(**SLOTS)\nclass X: ...",
            f"{OPEN}; found options that are not written out",
        ),
        (Extensible(), "X = 1", "a class; found a variable"),
        (Implementable(("e",)), ABSTRACT, "e to be all; found f as well"),
        (
            Implementable(("g",)),
            ABSTRACT.replace("X", "B") + "class X(B): ...",
            "g to be all; found f as well",
        ),
        (
            Implementable(("g", "h")),
            ABSTRACT + "    @abstractmethod\n    def e(self): ...\n",
            "g, h to be all; found f, e as well",
        ),
        (Implementable(("f",)), "X = 1", "a class; found a variable"),
    ],
)
def test_a_need_that_is_not_met_says_what_is_there(need: Need, source: str, said: str) -> None:
    """The problem names what was found, so that nobody has to open the file to see it."""
    assert problem(need, source) == f"needs {said}"


@pytest.mark.parametrize(
    "block",
    [
        "if c: ...\nelse: {}",
        "for c in d: {}",
        "for c in d: ...\nelse: {}",
        "with c: {}",
        "match c:\n  case 1: {}",
        "try: {}\nfinally: ...",
        "try: ...\nexcept E: {}",
        "try: ...\nexcept E: ...\nelse: {}",
        "try: ...\nfinally: {}",
        "try: ...\nexcept E:\n  if c: {}",
    ],
)
def test_an_attribute_is_assigned_in_whatever_block(block: str) -> None:
    """What a method sets under a condition, a handler or a case it sets."""
    body = indent(block.format("self.a = 1"), " " * 8)

    assert problem(Assigns(("a",)), f"class X:\n    def f(self):\n{body}") is None


ON_INSTANCE = "needs a method that is called on the class; found one of its instances"


@pytest.mark.parametrize(
    ("need", "decorator", "said"),
    [
        (Parameters(), "", None),
        (Parameters(on_class=True), "", ON_INSTANCE),
        (Parameters(on_class=True), "@classmethod", None),
        (Parameters(), "@property", "needs a function; found a property"),
        (Parameters(("a",)), "", "needs (a); found ()"),
        (Accepts(("a",)), "", "needs the arguments a; found ()"),
        (Accepts(("a",)), "@property", "needs a function; found a property"),
        (Property(), "@property", None),
        (Property(), "@functools.cached_property", None),
        (Property(), "@functools.lru_cache()", "needs a property; found the function ()"),
        (Property(), "", "needs a property; found the function ()"),
    ],
)
def test_decorators_decide_how_a_member_is_reached(
    need: Need, decorator: str, said: str | None
) -> None:
    """A property is not called, and only a class method is called on the class.

    The receiver is nobody's argument.
    """
    assert problem(need, f"class X:\n    {decorator}\n    def m(self): ...", "X.m") == said


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


def test_a_function_of_a_module_belongs_to_no_class() -> None:
    """It is told apart from a member of the name."""
    said = problem(DefinedBy((("vllm/x.py", "B"),)), "def X(): ...")

    assert said == "needs it defined by B of vllm/x.py; found no class of vllm/x.py"


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
