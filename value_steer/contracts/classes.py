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
        """The names that the class's own body binds; the last definition of a name counts."""
        pairs = (
            pair
            for statement, typing in statements(self.node.body)
            if not typing
            for pair in bindings(statement)
        )
        return {name: binding for name, binding in pairs if not isinstance(binding, Import)}

    def stated_bases(self) -> frozenset[str]:
        """The last names of the bases that it states itself."""
        return frozenset(filter(None, map(last_name, self.node.bases)))

    def states(self, option: str) -> bool | None:
        """The value of ``option=…``, set by a decorator (at any depth) or beside the bases."""
        stated = [k.value for k in self._options() if k.arg == option]
        return ast.unparse(stated[0]) != "False" if stated else None

    def hides_options(self) -> bool:
        """Whether some of them are unpacked from something, ``**…``."""
        return any(k.arg is None for k in self._options())

    def _options(self) -> list[ast.keyword]:
        given = [node for maker in self.node.decorator_list for node in ast.walk(maker)]
        return [*self.node.keywords, *(node for node in given if isinstance(node, ast.keyword))]


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
