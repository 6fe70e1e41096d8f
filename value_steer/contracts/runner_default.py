"""Which model runner vLLM builds when nobody says, read from ``vllm/config/vllm.py``."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from value_steer.contracts.lookup import SymbolMissingError
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from value_steer.contracts.lookup import Sources

_PATH = "vllm/config/vllm.py"
_LISTED = "DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES"
_ASKS = "_is_default_v2_model_runner_model"


class Rule(str, Enum):
    """How the default is chosen, as long as Triton and all features in use allow V2."""

    V1 = "v1"
    LISTED = "v2 for listed architectures"
    DENSE = "v2 for listed architectures and every dense generative model"
    V2 = "v2"
    UNKNOWN = "not determined"


@dataclass(frozen=True, slots=True)
class RunnerDefault:
    """The rule, and the architectures that it lists.

    Attributes:
        rule: How the default is chosen.
        architectures: Those that are listed by name, sorted.
        unquantized: Quantized models are left out.
    """

    rule: Rule
    architectures: tuple[str, ...] = ()
    unquantized: bool = False

    @property
    def condition(self) -> str:
        """The rule with the condition on its models, whichever these are."""
        return f"{self.rule.value}{', if dense and not quantized' if self.unquantized else ''}"

    def __str__(self) -> str:
        listed = f" ({', '.join(self.architectures)})" if self.architectures else ""
        return f"{self.condition}{listed}"

    def of(self, architecture: str) -> str:
        """The default for one architecture: ``v1``, ``v2``, or the condition that decides."""
        if self.rule in {Rule.V1, Rule.V2, Rule.UNKNOWN}:
            return self.rule.value
        if architecture in self.architectures:
            return "v2 unless quantized" if self.unquantized else "v2"
        return "v2 if dense" if self.rule is Rule.DENSE else "v1"


def runner_default(sources: Sources) -> RunnerDefault:
    """Read the rule; source of a shape that is not known here gives ``Rule.UNKNOWN``."""
    try:
        decides = sources.find(_PATH, "VllmConfig.use_v2_model_runner").node
    except SymbolMissingError:
        # Without the property nothing but the environment asks for V2.
        return RunnerDefault(Rule.V1)
    except ContractError:
        return RunnerDefault(Rule.UNKNOWN)
    try:
        if _ASKS in _attributes(decides):
            return _by_model(sources)
    except ContractError:
        return RunnerDefault(Rule.UNKNOWN)
    return RunnerDefault(Rule.V2 if _ends_in_true(decides) else Rule.UNKNOWN)


def _by_model(sources: Sources) -> RunnerDefault:
    asked = sources.find(_PATH, f"VllmConfig.{_ASKS}").node
    listed = _strings(sources.find(_PATH, _LISTED).node)
    last = _last_return(asked)
    if last is None or not listed:
        return RunnerDefault(Rule.UNKNOWN)
    if _dense_suffices(last):
        return RunnerDefault(Rule.DENSE, listed)
    guarded = any(isinstance(n, ast.If) and _mentions(n.test, _LISTED) for n in ast.walk(asked))
    if guarded or _mentions(last, _LISTED):
        return RunnerDefault(Rule.LISTED, listed, "is_quantized" in _attributes(last))
    return RunnerDefault(Rule.UNKNOWN)


def _dense_suffices(value: ast.expr) -> bool:
    """Whether ``not ….is_moe`` is one of the alternatives."""
    return (
        isinstance(value, ast.BoolOp)
        and isinstance(value.op, ast.Or)
        and any(
            isinstance(option, ast.UnaryOp)
            and isinstance(option.op, ast.Not)
            and isinstance(option.operand, ast.Attribute)
            and option.operand.attr == "is_moe"
            for option in value.values
        )
    )


def _ends_in_true(node: ast.AST) -> bool:
    last = _last_return(node)
    return isinstance(last, ast.Constant) and last.value is True


def _last_return(node: ast.AST) -> ast.expr | None:
    body = node.body if isinstance(node, ast.FunctionDef) else []
    return body[-1].value if body and isinstance(body[-1], ast.Return) else None


def _attributes(node: ast.AST) -> set[str]:
    return {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def _strings(node: ast.AST) -> tuple[str, ...]:
    values = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return tuple(sorted(value for value in values if isinstance(value, str)))
