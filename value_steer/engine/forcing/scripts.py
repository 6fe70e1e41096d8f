"""The tokens that are given out, one per step, in place of what is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from value_steer.errors import SettingsError
from value_steer.request_settings import AbstainAction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.engine_settings import AbstainSettings

STOP = -1
"""In a script: the token that ends the request."""

NONE, MARK, CLOSE, SPEAK, CLOSE_AND_SPEAK = range(5)
"""The scripts of an engine, by their place in :meth:`Scripts.tokens`; the first is empty."""

_LONGEST = 1024
_DRAFTS = (
    "with speculative decoding a step may give several tokens, which a request cannot be made to "
    "say one by one; remove --speculative-config, or use 'end'"
)
_NO_TOKENIZER = "this engine has no tokenizer; remove --skip-tokenizer-init, or use 'end'"


class Tokenizer(Protocol):
    """The host's."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""

    def get_vocab(self) -> Mapping[str, int]:
        """Token to its id."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How the model's reasoning section begins and ends.

    Attributes:
        start: The token that opens it; ``None``: every response begins inside it.
        end: The token that closes it.
        closing: What is given out to close it; ``end`` is among them.
    """

    start: int | None
    end: int
    closing: tuple[int, ...]

    def marks(self, prompt: Sequence[int]) -> tuple[int, int]:
        """Where a prompt opens and where it closes a section last; -1: nowhere.

        A model whose responses begin inside one counts as opened at the first position.
        """
        opened = 0 if self.start is None else _last(prompt, self.start)
        return opened, _last(prompt, self.end)


@dataclass(frozen=True, slots=True)
class Scripts:
    """The scripts of an engine: token sequences that it can be made to say.

    Attributes:
        reasoning: ``None`` if the model's vocabulary has no token that closes a reasoning section.
        message: ``None`` if none is configured.
        refusal: Why the engine can say nothing at all; ``None``: it can.
    """

    reasoning: Reasoning | None = None
    message: tuple[int, ...] | None = None
    refusal: str | None = None

    def allows(self, action: AbstainAction) -> bool:
        """Whether an action has what it gives out."""
        if action is AbstainAction.MESSAGE:
            return self.message is not None
        return action is AbstainAction.END or self.reasoning is not None

    def tokens(self) -> tuple[tuple[int, ...], ...]:
        """All scripts: none, close with nothing but the mark, close, speak, close and speak."""
        mark = (self.reasoning.end,) if self.reasoning else ()
        closing = self.reasoning.closing if self.reasoning else ()
        message = () if self.message is None else (*self.message, STOP)
        return (), mark, closing, message, (*closing, *message)

    def chosen(self, action: AbstainAction, *, thinking: bool, constrained: bool) -> int:
        """The script that begins when a request fires; ``NONE``: its stop token, nothing else.

        Inside a reasoning section a message would be taken for a thought, so it closes that first.
        Where a grammar decides, a script of several tokens might get stuck in it.
        """
        closes = thinking and self.reasoning is not None
        if action is AbstainAction.MESSAGE:
            return CLOSE_AND_SPEAK if closes else SPEAK
        if not closes or action is not AbstainAction.END_THINKING:
            return NONE
        return MARK if constrained else CLOSE


def resolve_scripts(
    settings: AbstainSettings, tokenizer: Tokenizer | None, *, drafts: bool
) -> Scripts:
    """Turn the texts of an engine's settings into tokens.

    Args:
        settings: Of an engine that abstains.
        tokenizer: ``None`` if the engine has none.
        drafts: Whether it decodes speculatively.

    Raises:
        SettingsError: The configured action has not what it needs, or a text cannot be given out.
    """
    refusal = _DRAFTS if drafts else _NO_TOKENIZER if tokenizer is None else None
    if refusal is not None and settings.action is not AbstainAction.END:
        msg = f"additional_config.abstain.action = {settings.action.value!r}: {refusal}"
        raise SettingsError(msg)
    if tokenizer is None or refusal is not None:
        return Scripts(refusal=refusal)
    reasoning = _reasoning(settings, tokenizer)
    if reasoning is None and settings.action is AbstainAction.END_THINKING:
        msg = (
            f"additional_config.abstain.reasoning_end_token = {settings.reasoning_end_token!r}: "
            "is no token of the model; name the one that closes its reasoning section"
        )
        raise SettingsError(msg)
    message = None
    if settings.message is not None:
        message = _encoded(settings.message, "message", tokenizer)
    return Scripts(reasoning, message)


def _reasoning(settings: AbstainSettings, tokenizer: Tokenizer) -> Reasoning | None:
    vocabulary = tokenizer.get_vocab()
    end = vocabulary.get(settings.reasoning_end_token)
    if end is None:
        return None
    closing: tuple[int, ...] = (end,)
    if settings.reasoning_end_str is not None:
        closing = _encoded(settings.reasoning_end_str, "reasoning_end_str", tokenizer)
        if closing.count(end) != 1:
            msg = (
                "additional_config.abstain.reasoning_end_str: must hold "
                f"{settings.reasoning_end_token!r} once, which closes the reasoning section"
            )
            raise SettingsError(msg)
    return Reasoning(vocabulary.get(settings.reasoning_start_token or ""), end, closing)


def _encoded(text: str, key: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    tokens = tuple(tokenizer.encode(text, add_special_tokens=False))
    if not 0 < len(tokens) <= _LONGEST:
        msg = f"additional_config.abstain.{key}: has {len(tokens)} tokens, not 1 to {_LONGEST}"
        raise SettingsError(msg)
    return tokens


def _last(prompt: Sequence[int], token: int) -> int:
    """The last position of a token; -1: it does not occur."""
    backwards = list(prompt)[::-1]
    return len(backwards) - 1 - backwards.index(token) if token in backwards else -1
