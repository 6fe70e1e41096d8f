"""What a contract can demand of the code in a function or a class: calls, order, comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.contract_trees import problem
from value_steer.contracts.needs import Calls, Compares, Contains, Order

if TYPE_CHECKING:
    from value_steer.contracts.needs import Need

APART = "f() before g(); found g() in another branch"
REVERSED = "f() before g(); found the reverse"


@pytest.mark.parametrize(
    ("need", "source"),
    [
        (Calls("f"), "def X(): f()"),
        (Calls("a.f", 1, ("k",)), "def X(): a.f(1, 2, k=3, other=4)"),
        (Calls("f", 1), "def X(): return [f(1), f(2)]"),
        (Order("f", "g"), "def X():\n    f()\n    g()"),
        (Order("f", "g"), "def X(): return g(f())"),
        (Order("f", "g"), "def X():\n    if a:\n        f()\n    g()"),
        (Order("f", "g"), "def X():\n    if a:\n        f()\n    else:\n        f()\n    g()"),
        (Order("f", "g"), "def X():\n    for a in b:\n        f()\n        g()"),
        (Calls("f"), "class X:\n    def g(self): return f()"),
        (Order("f", "g"), "def X():\n    if a:\n        raise E\n    f()\n    g()"),
        (Compares("p.eos"), "def X(p): return 1 == p.eos"),
        (Compares("p.eos"), "def X(r): return 1 in (r.p.eos or ())"),
        (Contains(("a.b + 1",)), "def X(a): return f(a.b  +\n1)"),
        (Contains(("a.b -= 1", "a.b = 1")), "def X(a):\n    if a:\n        a.b = 1"),
        (Contains(("self.a",)), "def X(self):\n    self.a: int | None = None"),
    ],
)
def test_a_need_that_is_met_has_no_problem(need: Need, source: str) -> None:
    """Further calls and other ways to write it disturb nothing."""
    assert problem(need, source) is None


@pytest.mark.parametrize(
    ("need", "source", "said"),
    [
        (Calls("f"), "def X(): g('f()')  # f()", "a call f(); found none"),
        (Calls("f"), "X = f()", "a function or a class; found a variable"),
        (Calls("f"), "class X:\n    def g(self): self.f()", "a call f(); found none"),
        (Calls("f", 1), "def X():\n    f(1)\n    f()", "the call f(…); found f()"),
        (Calls("f", 2), "def X(): f(1)", "the call f(…, …); found f(1)"),
        (Calls("f", 1), "def X(): f(*a)", "the call f(…); found f(*a)"),
        (Calls("f", 0, ("k",)), "def X(): f(**k)", "the call f(k=…); found f(**k)"),
        (Order("f", "g"), "def X():\n    g()\n    f()", REVERSED),
        (Order("f", "g"), "def X():\n    f()\n    g()\n    f()", REVERSED),
        (Order("f", "g"), "def X(): f(g())", REVERSED),
        (Order("f", "g"), "def X():\n    f(\n        g(),\n    )", REVERSED),
        (Order("f", "g"), "def X(): f()", "f() before g(); found no g()"),
        (Order("f", "g"), "def X():\n    def h(): f()\n    g()", "f() before g(); found no f()"),
        (
            Order("f", "g"),
            "def X():\n    f()\n    return lambda: g()",
            "f() before g(); found no g()",
        ),
        (Order("f", "g"), "def X():\n    if a: f()\n    else: g()", APART),
        (
            Order("f", "g"),
            "def X():\n    match a:\n        case 1: f()\n        case 2: g()",
            APART,
        ),
        (Order("f", "g"), "def X(): return f() if a else g()", APART),
        (Order("f", "g"), "def X():\n    if a:\n        f()\n        return\n    g()", APART),
        (
            Order("f", "g"),
            "def X():\n    for a in b:\n        if c: f(); continue\n        g()",
            APART,
        ),
        (Order("f", "g"), "class X: ...", "a function; found a class"),
        (Compares("p.eos"), "def X(p): return p.eos", "a comparison with p.eos; found none"),
        (
            Compares("p.eos"),
            "def X(p): return step.eos == 1",
            "a comparison with p.eos; found none",
        ),
        (
            Compares("p.eos"),
            "def X(p): return p.eos is None or len(p.eos) > 1",
            "a comparison with p.eos; found none",
        ),
        (Compares("p.eos"), "class X: ...", "a function; found a class"),
        (
            Contains(("a.b + 1",)),
            "def X(a): return a.b + 1.0  # a.b + 1",
            "the code a.b + 1; found none",
        ),
        (Contains(("a.b + 1",)), "def X(a): return a.b + True", "the code a.b + 1; found none"),
        (Contains(("a", "b")), "def X(): f('a', c)", "the code a or b; found none"),
        (Contains(("f(a)",)), "def X(): f(a, b)", "the code f(a); found none"),
        (Contains(("a = 1",)), "a = 1\nclass X: ...", "a function; found a class"),
    ],
)
def test_a_need_that_is_not_met_says_what_is_there(need: Need, source: str, said: str) -> None:
    """The problem names what was found, so that nobody has to open the file to see it."""
    assert problem(need, source) == f"needs {said}"
