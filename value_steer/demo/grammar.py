"""A ship's log: a language whose good and bad texts, and the chances of each, are known exactly.

The weather walks up and down a ladder of winds, two words a rung, until the ship is in harbour
(good) or a wreck (bad); then the log runs on for a while. It is the gambler's ruin, told in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Generator, Tensor

PAD, BOS, EOS = 0, 1, 2
WINDS = (
    ("calm", "ripple"),
    ("breeze", "fresh"),
    ("wind", "gust"),
    ("gale", "squall"),
    ("storm", "tempest"),
)
"""The rungs, each with a word after which the wind tends to fall and one after which to rise."""

WORDS = ("<pad>", "<s>", "</s>", *sum(WINDS, ()), "harbour", "wreck", "moored", "adrift")
HARBOUR, WRECK, MOORED, ADRIFT = range(len(WORDS) - 4, len(WORDS))

PROMPT_WORDS = 8
"""Words of the log that are given, after the beginning-of-sequence token."""

MAX_TOKENS = 48
"""Response tokens at most."""

_FIRST_WIND = 3
_ENDINGS = frozenset({HARBOUR, WRECK, EOS})
_TREND = 0.6
_MOORED_ON, _ADRIFT_ON = 0.85, 0.92


def transitions() -> Tensor:
    """The language itself: the law of the next word after each word, ``[words, words]``, fp64."""
    law = torch.zeros(len(WORDS), len(WORDS), dtype=torch.float64)
    law[BOS, _rung(len(WINDS) // 2)] = 0.5
    for rung in range(len(WINDS)):
        for word, falls in zip(_rung(rung), (_TREND, 1 - _TREND), strict=True):
            _split(law[word], _rung(rung - 1), falls)
            _split(law[word], _rung(rung + 1), 1 - falls)
    law[HARBOUR, MOORED] = law[WRECK, ADRIFT] = 1
    law[MOORED, [MOORED, EOS]] = torch.tensor([_MOORED_ON, 1 - _MOORED_ON], dtype=law.dtype)
    law[ADRIFT, [ADRIFT, EOS]] = torch.tensor([_ADRIFT_ON, 1 - _ADRIFT_ON], dtype=law.dtype)
    law[[EOS, PAD], PAD] = 1
    return law


def write(count: int, generator: Generator) -> Tensor:
    """Logs from beginning to end, padded: ``[count, 1 + PROMPT_WORDS + MAX_TOKENS]``."""
    law = transitions()
    logs = torch.full((count, 1), BOS)
    for _ in range(PROMPT_WORDS + MAX_TOKENS):
        following = torch.multinomial(law[logs[:, -1]], 1, generator=generator)
        logs = torch.cat([logs, following], dim=1)
    return logs


def prompts(count: int, generator: Generator) -> list[list[int]]:
    """Different beginnings of logs in which the ship is still at sea, in random order.

    The order matters: what is found first is likelier, and the parts that a list is cut into are
    to be alike.
    """
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        begun = write(count, generator)[:, : 1 + PROMPT_WORDS]
        at_sea = (begun[:, 1:] < HARBOUR).all(dim=1) & (begun[:, 1:] >= _FIRST_WIND).all(dim=1)
        found.update(dict.fromkeys(map(tuple, begun[at_sea].tolist())))
    listed = list(found)[:count]
    return [list(listed[i]) for i in torch.randperm(count, generator=generator).tolist()]


def is_good(response: Iterable[int]) -> bool:
    """Whether a log reaches the harbour; one that breaks off at sea does not."""
    return next(filter(_ENDINGS.__contains__, response), EOS) == HARBOUR


def is_decided(response: Sequence[int]) -> bool:
    """Whether what follows cannot change whether a log is good."""
    return not _ENDINGS.isdisjoint(response)


def text(tokens: Sequence[int]) -> str:
    """Tokens as words."""
    return " ".join(WORDS[token] for token in tokens)


def _rung(rung: int) -> list[int]:
    """The words of a rung; beyond the ladder lie the harbour and the wreck."""
    if rung < 0:
        return [HARBOUR]
    if rung == len(WINDS):
        return [WRECK]
    return [_FIRST_WIND + 2 * rung, _FIRST_WIND + 2 * rung + 1]


def _split(row: Tensor, words: list[int], chance: float) -> None:
    row[words] = chance / len(words)
