"""A class as its source states it, and the order in which Python looks attributes up in it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.syntax import Import, bindings, last_name, statements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.contracts.modules import Module
    from value_steer.contracts.syntax import Definition


@dataclass(frozen=True, slots=True)
class Class:
    """A class and where it was found."""

    node: ast.ClassDef
    module: Module

    def members(self) -> dict[str, Definition]:
        """What its own body binds; the last definition of a name counts."""
        pairs = (
            pair for statement, _ in statements(self.node.body) for pair in bindings(statement)
        )
        return {name: binding for name, binding in pairs if not isinstance(binding, Import)}

    def stated_bases(self) -> frozenset[str]:
        """The last names of the bases that it states itself."""
        return frozenset(filter(None, map(last_name, self.node.bases)))

    def states(self, option: str) -> bool | None:
        """What ``option=…`` is set to, by a decorator or beside the bases."""
        calls = [maker for maker in self.node.decorator_list if isinstance(maker, ast.Call)]
        keywords = [*self.node.keywords, *(k for call in calls for k in call.keywords)]
        stated = [k.value for k in keywords if k.arg == option]
        return ast.unparse(stated[0]) != "False" if stated else None


def merged(lines: Sequence[Sequence[Class]]) -> list[Class] | None:
    """The order of attribute lookup behind a class; ``None`` if there is none that is consistent.

    Args:
        lines: The bases of the class, and the order of each with the base itself at its head.

    Source:
        The C3 linearization: Barrett et al., "A Monotonic Superclass Linearization for Dylan",
        OOPSLA 1996; Python's since 2.3.
    """
    order: list[Class] = []
    left = [list(line) for line in lines if line]
    while left:
        tails = [one for line in left for one in line[1:]]
        head = next((line[0] for line in left if line[0] not in tails), None)
        if head is None:
            return None
        order.append(head)
        left = [rest for line in left if (rest := [one for one in line if one != head])]
    return order
