"""From the texts of an engine's settings to the tokens that are given out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from value_steer.config import AbstainAction, AbstainSettings
from value_steer.engine.forcing.scripts import (
    CLOSE,
    CLOSE_AND_SPEAK,
    NONE,
    SPEAK,
    STOP,
    Reasoning,
    Scripts,
    resolve_scripts,
)
from value_steer.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

WORDS = {"<think>": 0, "</think>": 7, "stop": 8, "it": 9}


class Tokenizer:
    """One word, one token; what is no word is none."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text."""
        assert add_special_tokens is False
        return [WORDS[word] for word in text.split() if word in WORDS]

    def get_vocab(self) -> Mapping[str, int]:
        """Token to its id."""
        return WORDS


def _settings(**changes: object) -> AbstainSettings:
    return AbstainSettings(Path("head.pt"), 0.5, **changes)  # type: ignore[arg-type]


def test_texts_become_tokens() -> None:
    """A text that closes reasoning may say more than the token that does."""
    settings = _settings(message="it", reasoning_end_str="stop it </think>")

    scripts = resolve_scripts(settings, Tokenizer(), drafts=False)

    assert scripts == Scripts(Reasoning(0, 7, (8, 9, 7)), (9,))
    assert scripts.tokens() == ((), (7,), (8, 9, 7), (9, STOP), (8, 9, 7, 9, STOP))


@pytest.mark.parametrize("action", [AbstainAction.END, AbstainAction.END_THINKING])
def test_what_is_not_configured_is_not_said(action: AbstainAction) -> None:
    """A section is closed by its token alone, and there is no message."""
    scripts = resolve_scripts(_settings(action=action), Tokenizer(), drafts=False)

    assert scripts == Scripts(Reasoning(0, 7, (7,)), None)
    assert not scripts.allows(AbstainAction.MESSAGE)


@pytest.mark.parametrize("start", [None, "<unknown>"])
def test_without_an_opening_token_a_response_begins_inside(start: str | None) -> None:
    """There is none, or the vocabulary has not got it."""
    settings = _settings(reasoning_start_token=start)

    scripts = resolve_scripts(settings, Tokenizer(), drafts=False)

    assert scripts.reasoning == Reasoning(None, 7, (7,))


def test_an_opening_token_that_is_not_named_is_not_guessed() -> None:
    """Whatever words a vocabulary has."""
    words = SimpleNamespace(get=lambda word: len(word) or None)
    tokenizer: Any = SimpleNamespace(get_vocab=lambda: words)

    scripts = resolve_scripts(_settings(reasoning_start_token=None), tokenizer, drafts=False)

    assert scripts.reasoning == Reasoning(None, len("</think>"), (len("</think>"),))


def test_a_message_may_be_as_long_as_is_said() -> None:
    """And no longer, see below."""
    scripts = resolve_scripts(_settings(message="it " * 1024), Tokenizer(), drafts=False)

    assert scripts.message == (9,) * 1024


@pytest.mark.parametrize(
    ("action", "inside", "script"),
    [
        (AbstainAction.END, True, NONE),
        (AbstainAction.END_THINKING, True, CLOSE),
        (AbstainAction.END_THINKING, False, NONE),
        (AbstainAction.MESSAGE, True, CLOSE_AND_SPEAK),
        (AbstainAction.MESSAGE, False, SPEAK),
    ],
)
def test_what_is_said_depends_on_where_a_request_is(
    action: AbstainAction,
    inside: bool,  # noqa: FBT001  (a parameter of the test)
    script: int,
) -> None:
    """Inside a reasoning section a message would be taken for a thought."""
    scripts = Scripts(Reasoning(0, 7, (7,)), (9,))

    assert scripts.chosen(action, thinking=inside, constrained=False) == script


def test_without_reasoning_a_message_is_all_that_is_said() -> None:
    """A model whose vocabulary has no such token never thinks."""
    scripts = Scripts(None, (9,))

    assert scripts.chosen(AbstainAction.MESSAGE, thinking=True, constrained=False) == SPEAK
    assert not scripts.allows(AbstainAction.END_THINKING)


def test_the_prompt_says_whether_a_response_begins_inside() -> None:
    """By the last token of either kind; a model without an opening one begins inside."""
    opening, always = Reasoning(0, 7, (7,)), Reasoning(None, 7, (7,))

    assert opening.marks([5, 0, 7, 0, 5]) == (3, 2)
    assert opening.marks([5]) == (-1, -1)
    assert always.marks([5, 7]) == (0, 1)
    assert always.marks([]) == (0, -1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"message": "nothing known"}, r"abstain\.message: has 0 tokens"),
        ({"message": "it " * 1025}, r"abstain\.message: has 1025 tokens, not 1 to 1024"),
        ({"reasoning_end_str": "nothing known"}, r"abstain\.reasoning_end_str: has 0 tokens"),
        ({"reasoning_end_str": "stop it"}, r"reasoning_end_str: must hold '</think>' once"),
        (
            {"action": AbstainAction.END_THINKING, "reasoning_end_token": "<end>"},
            r"reasoning_end_token = '<end>': is no token",
        ),
    ],
)
def test_what_cannot_be_said_is_refused(changes: dict[str, object], message: str) -> None:
    """At start-up, with the key."""
    with pytest.raises(SettingsError, match=message):
        resolve_scripts(_settings(**changes), Tokenizer(), drafts=False)


@pytest.mark.parametrize(
    ("tokenizer", "drafts", "why"),
    [(None, False, "skip-tokenizer-init"), (Tokenizer(), True, "speculative-config")],
)
def test_where_nothing_can_be_said_requests_end(
    tokenizer: Tokenizer | None,
    drafts: bool,  # noqa: FBT001  (a parameter of the test)
    why: str,
) -> None:
    """Another action is refused with the reason, the engine's as well as a request's own."""
    scripts = resolve_scripts(_settings(message="it"), tokenizer, drafts=drafts)

    assert scripts.refusal is not None
    assert why in scripts.refusal
    assert not scripts.allows(AbstainAction.MESSAGE)
    with pytest.raises(SettingsError, match=why):
        resolve_scripts(
            _settings(action=AbstainAction.MESSAGE, message="it"), tokenizer, drafts=drafts
        )
