"""Requests as the engine knows them, and a model runner that runs any token ahead."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from value_steer.engine.live_request import LiveRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

STOP = 1
PROMPT = 3


def live(**changes: Any) -> LiveRequest:
    """A filtered request of three prompt and two response tokens, with some things changed."""
    keys: dict[str, Any] = {
        "prompt_length": PROMPT,
        "threshold": None,
        "first_judged": PROMPT + 1,
        "first_endable": PROMPT + 2,
        "stop_token": STOP,
        "constrained": False,
        "wants_logprobs": False,
        "slot": 0,
        "vfd_threshold": 0.5,
        "candidates": 4,
        "length": PROMPT + 2,
        "complete": True,
    }
    return LiveRequest(**{**keys, **changes})


class Runner:
    """Stands for running ahead: the feature of a row is the value of the token it ends in.

    Attributes:
        tokens: Each request's last token, as it is booked.
        runs: The requests of each run, in order.
        repeated: The feature that each request repeated a step from last.
        kept: What was run last, and not dropped since.
    """

    def __init__(self, values: Mapping[int, float], tokens: Mapping[str, int]) -> None:
        self._values = values
        self.tokens = dict(tokens)
        self.runs: list[list[str]] = []
        self.positions: dict[str, int] = {}
        self.repeated: dict[str, torch.Tensor] = {}
        self.kept: Any = None

    def run(self, ends: Any) -> Any:
        """Run a step on the tokens that the requests end in."""
        ids = list(ends.positions)
        self.runs.append(ids)
        values = [[self._values[self.tokens[name]]] for name in ids]
        look = SimpleNamespace(ids=ids, feature=torch.tensor(values))
        self.kept = SimpleNamespace(ends=ends, look=look)
        return look

    def book(self, request_id: str, position: int, token: int) -> None:
        """Let a sequence end in another token."""
        self.tokens[request_id] = token
        self.positions[request_id] = position

    def without(self, request_id: str) -> None:
        """A request does not go on."""
        del self.kept.ends.positions[request_id]

    def repeat(self, request_id: str, feature: torch.Tensor) -> None:
        """A request does its step again."""
        self.kept.ends.positions[request_id] -= 1
        self.repeated[request_id] = feature

    def drop(self) -> None:
        """Forget what was run."""
        self.kept = None
