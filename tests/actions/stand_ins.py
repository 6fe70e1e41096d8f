"""What the tests of the runner use: a small evaluator, and repositories with workflows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from tests.actions.expressions import Answer, Scope
from tests.actions.records import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GIT = shutil.which("git") or "git"
_STATUS = ("success()", "failure()", "always()", "cancelled()")


def evaluate(expressions: Sequence[str], scope: Scope) -> list[Answer]:
    """Names with dots, ``!``, ``&&``, ``==``, ``fromJSON`` and the status: no more than that."""
    answers = []
    for expression in expressions:
        value = _value(expression.strip(), scope)
        text = str(value).lower() if isinstance(value, bool) else str(value or "")
        asks = any(name in expression for name in _STATUS)
        answers.append(Answer(value, text, bool(value), asks))
    return answers


def _value(text: str, scope: Scope) -> object:
    status = {"always()": True, "cancelled()": False}
    status |= {f"{name}()": scope.status == name for name in ("success", "failure")}
    if " && " in text:
        return all(_value(part.strip(), scope) for part in text.split(" && "))
    if " == " in text:
        left, right = (_value(part.strip(), scope) for part in text.split(" == "))
        return left == right
    if text.startswith("!"):
        return not _value(text[1:], scope)
    if text.startswith("fromJSON("):
        return json.loads(str(_value(text[len("fromJSON(") : -1], scope)))
    if text.startswith("'"):
        return text[1:-1]
    return status[text] if text in status else _looked_up(text, scope)


def _looked_up(text: str, scope: Scope) -> object:
    found: object = scope.contexts
    for name in text.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def repository(folder: Path, files: Mapping[str, str]) -> Path:
    """A repository with one commit of some files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    # Without the settings of whoever runs the tests.
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], [*who, "commit", "-qm", "first"]):
        subprocess.run([GIT, *command], cwd=folder, env=env, check=True)
    return folder


def event(workflow: str) -> Event:
    """A run that somebody has asked for, of main."""
    return Event(workflow, "workflow_dispatch", "refs/heads/main", "0" * 40)
