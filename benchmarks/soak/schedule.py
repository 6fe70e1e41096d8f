"""The requests of a soak, and their times: all of it follows from a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from compat.behaviour.tiny_models import FIRST_WORD, VOCABULARY

CYCLE = 1_200
"""Requests after which streams and thresholds repeat, so that parts of a run can be compared."""

PAIRS: tuple[dict[str, float | str], ...] = (
    {"abstain": 0.5, "vfd": 0.5},
    {"abstain": 0.4, "vfd": "never"},
    {"abstain": "never", "vfd": 0.6},
)
"""The server's thresholds in turn; each is told from the others by what an answer says of it."""

_ABREAST = (40, 280, 120, 200)
"""Streams that are open at a time, in each quarter of a cycle."""
_CHANGE = 100
"""Requests between two changes of the server's thresholds: each quarter has all of them."""
_HANG_UP = 0.12
_KINDS = {
    "default": 0.28,
    "own": 0.20,
    "filtered": 0.12,
    "abstaining": 0.08,
    "exempt": 0.10,
    "grammar": 0.10,
    "stopped": 0.06,
    "wrong": 0.06,
}
_WRONG: tuple[dict[str, float | str], ...] = (
    {"abstain_threshold": 7},
    {"vfd_threshold": "often"},
    {"vfd_threshold": 0.0, "vfd_num_candidates": 9223372036854775807},
    {"abstain_treshold": 0.5},
    {"steer_test": "both"},
)
_REGEX = "(w0[5-9][0-9]w1[0-9][0-9]){3,9}"


@dataclass(frozen=True)
class Template:
    """A request that is asked many times.

    Attributes:
        number: Its place in the catalogue.
        kind: What it stands for.
        body: Its JSON, as ``/v1/completions`` takes it.
        follows: Whether the server's thresholds apply to it.
    """

    number: int
    kind: str
    body: dict[str, Any]
    follows: bool

    @property
    def streams(self) -> bool:
        """Whether its answer comes token by token."""
        return bool(self.body["stream"])


@dataclass(frozen=True)
class Arrival:
    """One request of a run.

    Attributes:
        number: Its place in the run, from 0.
        template: Number of what is asked.
        hang_up: Tokens after which its client goes away; ``None`` if it stays.
        abreast: It waits until fewer streams are open.
        pair: The thresholds that the server is given before it; ``None``: they stay.
    """

    number: int
    template: int
    hang_up: int | None
    abreast: int
    pair: int | None


def catalogue(seed: int, templates: int) -> list[Template]:
    """The requests of a run.

    Args:
        seed: Of the run.
        templates: How many; each kind has its share of them.
    """
    draw = random.Random(f"catalogue/{seed}")  # noqa: S311  (no secret)
    kinds = [
        kind for kind, share in _KINDS.items() for _ in range(max(1, round(share * templates)))
    ]
    return [_template(number, kind, draw) for number, kind in enumerate(kinds)]


def arrival(seed: int, number: int, templates: list[Template]) -> Arrival:
    """One request of a run, which depends on no other."""
    draw = random.Random(f"order/{seed}/{number}")  # noqa: S311  (no secret)
    template = draw.choice(templates)
    hangs_up = template.streams and draw.random() < _HANG_UP
    changes, at = divmod(number, _CHANGE)
    return Arrival(
        number=number,
        template=template.number,
        hang_up=draw.choice((0, 1, 2, 4, 8)) if hangs_up else None,
        abreast=_ABREAST[number % CYCLE * len(_ABREAST) // CYCLE],
        pair=changes % len(PAIRS) if at == 0 and number else None,
    )


def without_steering(template: Template) -> Template:
    """The same request for a server without value-steer."""
    body = {key: value for key, value in template.body.items() if key != "vllm_xargs"}
    return Template(template.number, template.kind, body, follows=False)


def _template(number: int, kind: str, draw: random.Random) -> Template:
    prompt = [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(draw.randrange(4, 81))]
    body: dict[str, Any] = {
        "model": "tiny",
        "prompt": prompt,
        "max_tokens": draw.randrange(8, 49),
        "temperature": draw.choice((0.0, 0.7, 1.0, 1.0)),
        "seed": draw.randrange(1 << 31),
        "stream": draw.random() < 0.75,
        "return_token_ids": True,
        "vllm_xargs": _settings(kind, draw),
    }
    if kind == "grammar":
        body["structured_outputs"] = {"regex": _REGEX}
    if kind == "stopped":
        body["stop"] = [f"w{draw.randrange(10, 51)}"]
    return Template(number, kind, body, follows=kind in {"default", "grammar", "stopped"})


def _settings(kind: str, draw: random.Random) -> dict[str, float | str]:
    values: dict[str, float | str] = {"steer_values": "true"} if draw.random() < 0.8 else {}
    if kind == "own":
        values["abstain_threshold"] = draw.choice((0.3, 0.5, 0.7, "never"))
        values["vfd_threshold"] = draw.choice((0.3, 0.5, 0.7))
        values["vfd_num_candidates"] = draw.choice((1, 2, 8, 32))
    elif kind == "filtered":
        values |= {"abstain_threshold": "never", "vfd_threshold": draw.choice((0.4, 0.5))}
    elif kind == "abstaining":
        values |= {"abstain_threshold": draw.choice((0.4, 0.5)), "vfd_threshold": "never"}
    elif kind == "exempt":
        values |= {"steer": "false"}
    elif kind == "wrong":
        values |= draw.choice(_WRONG)
    return values
