"""Texts with ``${{ … }}`` in them and conditions; what an expression means, GitHub's code says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tests.actions.records import ActionsError, Outcome

SCRIPT = Path(__file__).parent / "evaluate.mjs"
PACKAGE = Path("node_modules", "@actions", "expressions")

# A text in quotes may hold the closing braces.
_TEMPLATE = re.compile(r"\$\{\{((?:'[^']*'|[^'])*?)\}\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression can see.

    Attributes:
        contexts: By name, as JSON.
        status: What ``success()`` and ``failure()`` go by.
    """

    contexts: Mapping[str, object]
    status: Outcome = "success"


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of an expression.

    Attributes:
        value: As JSON.
        text: As it stands in a text.
        holds: Whether it is true as a condition.
        asks_status: Whether it calls ``success()``, ``failure()``, ``always()``, ``cancelled()``.
    """

    value: object
    text: str
    holds: bool
    asks_status: bool


Evaluate: TypeAlias = Callable[[Sequence[str], Scope], "list[Answer]"]
"""Answers expressions, one for each.

Raises:
    ActionsError: One of them has no value.
"""


@dataclass(frozen=True, slots=True)
class Node:
    """Asks GitHub's evaluator.

    Attributes:
        program: Node.js.
        folder: Where npm has installed the evaluator.
    """

    program: str
    folder: Path

    def __call__(self, expressions: Sequence[str], scope: Scope) -> list[Answer]:
        """Answer expressions in one process."""
        asked = {
            "expressions": [*expressions],
            "contexts": dict(scope.contexts),
            "status": scope.status,
        }
        command = [self.program, str(SCRIPT), str(self.folder)]
        done = subprocess.run(
            command, input=json.dumps(asked), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            msg = f"the evaluator of expressions failed: {done.stderr.strip()[-1000:]}"
            raise ActionsError(msg)
        answers = json.loads(done.stdout)
        for expression, answer in zip(expressions, answers, strict=True):
            if "error" in answer:
                msg = f"${{{{ {expression.strip()} }}}}: {answer['error']}"
                raise ActionsError(msg)
        return [Answer(**answer) for answer in answers]


def node(folder: Path | None) -> Node:
    """The evaluator in a folder.

    Raises:
        ActionsError: It is not there, or Node.js is not.
    """
    if folder is None or not (folder / PACKAGE).is_dir():
        msg = (
            "VALUE_STEER_EXPRESSIONS must name a folder with @actions/expressions in it;"
            " `nox -s actions -- WORKFLOW` installs it"
        )
        raise ActionsError(msg)
    program = shutil.which("node")
    if program is None:
        msg = "there is no `node` on PATH; install Node.js 20 or newer"
        raise ActionsError(msg)
    return Node(program, folder)


def expressions(text: str) -> list[str]:
    """The expressions in a text, in order."""
    return [found[1] for found in _TEMPLATE.finditer(text)]


def fill(texts: Mapping[str, str], scope: Scope, evaluate: Evaluate) -> dict[str, str]:
    """Texts with their expressions replaced by what they come to."""
    asked = [found for text in texts.values() for found in expressions(text)]
    answers = iter(evaluate(asked, scope) if asked else ())
    return {key: _TEMPLATE.sub(lambda _: next(answers).text, text) for key, text in texts.items()}


def value(text: str, scope: Scope, evaluate: Evaluate) -> object:
    """The value of a text that is one expression and nothing else.

    Raises:
        ActionsError: It is more, or less.
    """
    found = _TEMPLATE.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r}: must be one expression, ${{{{ … }}}}"
        raise ActionsError(msg)
    (answer,) = evaluate([found[1]], scope)
    return answer.value


def condition(text: str) -> str:
    """The expression of an ``if``, with or without its braces.

    Raises:
        ActionsError: It is text around an expression, which is always true.
    """
    found = _TEMPLATE.fullmatch(text.strip())
    expression = found[1] if found else text.strip()
    if "${{" in expression:
        msg = f"if: {text!r} mixes text with an expression, and would always hold"
        raise ActionsError(msg)
    return expression


def holds(text: str, scope: Scope, evaluate: Evaluate) -> bool:
    """Whether an ``if`` holds; one that asks for no status wants a success as well."""
    if not text:
        return scope.status == "success"
    (answer,) = evaluate([condition(text)], scope)
    return answer.holds and (answer.asks_status or scope.status == "success")
