"""Callers of a server: their questions, and what they must be able to tell from its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compat.behaviour.heads import BAD_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import OpenAI

MESSAGES = [{"role": "user", "content": "w005 w006 w007 w008"}]


@dataclass(frozen=True)
class Reply:
    """A reply, as its caller reads it.

    Attributes:
        status: 200, or that of the error.
        told: The object beside the reason why it finished.
        reason: That reason, and why it stopped.
        tokens: The answer.
    """

    status: int
    told: dict[str, Any]
    reason: tuple[str | None, object]
    tokens: list[int]


def chat(client: OpenAI, *, stream: bool, **options: Any) -> Reply:
    """One answer, which is the same whether it is streamed or not."""
    from openai import APIError

    xargs = options.pop("xargs", {})
    request: dict[str, Any] = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12}
    request |= {"temperature": 0.0, **options, "extra_body": {"vllm_xargs": xargs}}
    try:
        if not stream:
            (choice,) = client.chat.completions.create(**request).choices
            return _reply(choice, choice.message.content)
        chunks = list(client.chat.completions.create(**request, stream=True))
    except APIError as error:
        # A stream has said 200 before the request is looked at; its only event is the error.
        body: Any = error.body
        return Reply(body["code"], {"message": str(error)}, (None, None), [])
    choices: list[Any] = [choice for chunk in chunks for choice in chunk.choices]
    (last,) = (choice for choice in choices if choice.finish_reason is not None)
    assert not any("value_steer" in choice.model_extra for choice in choices if choice is not last)
    return _reply(last, "".join(choice.delta.content or "" for choice in choices))


def _reply(choice: Any, text: str) -> Reply:
    told = choice.model_extra["value_steer"]
    reason = choice.finish_reason, choice.model_extra.get("stop_reason")
    words = [word[1:] for word in text.split()]
    return Reply(200, told, reason, [int(word) for word in words if word.isdigit()])


UNFILTERED = {"vfd_threshold": "never"}
LEFT_ALONE = {"abstain_threshold": "never", **UNFILTERED}


def _is_abstained(reply: Reply) -> None:
    assert reply.told["outcome"] == "abstained"
    assert reply.reason == ("stop", "value_steer:abstained")
    assert reply.told["stopped_at"] == len(reply.tokens)
    assert reply.tokens[-1] in BAD_TOKENS
    assert reply.told["value"] == reply.told["lowest"] < reply.told["threshold"] == 0.5


def _is_steered(reply: Reply) -> None:
    assert reply.told["outcome"] == "steered"
    assert reply.told["interventions"] > 0
    assert reply.told["p_undesirable"] < reply.told["vfd_threshold"] == 0.5
    assert reply.told["stopped_at"] is None
    assert not BAD_TOKENS & set(reply.tokens)


def _is_untouched(reply: Reply) -> None:
    assert reply.told["outcome"] == "steered"
    assert reply.told["value"] > reply.told["threshold"] == 0.01
    assert (reply.told["interventions"], reply.told["no_acceptable"]) == (0, 0)
    assert reply.reason == ("length", None)
    assert BAD_TOKENS & set(reply.tokens)


def _is_exempt(reply: Reply) -> None:
    assert reply.told["outcome"] == "exempt"
    assert reply.told["value"] is reply.told["p_undesirable"] is reply.told["threshold"] is None
    assert reply.reason == ("length", None)


def _is_refused(reply: Reply) -> None:
    assert reply.status == 400
    assert "abstain_threshold" in reply.told["message"]


def _is_told(reply: Reply) -> None:
    assert reply.told["outcome"] == "abstained"
    assert reply.told["action"] == "message"
    assert reply.reason == ("stop", "value_steer:abstained")
    kept = reply.told["stopped_at"]
    assert reply.tokens[kept - 1] in BAD_TOKENS
    assert reply.tokens[kept:] == [30, 21, 22]


def _is_tested(reply: Reply) -> None:
    assert reply.told["outcome"] == "abstained"
    assert reply.told["stopped_at"] == len(reply.tokens) == 1


KINDS: list[tuple[dict[str, Any], Callable[[Reply], None]]] = [
    ({"xargs": UNFILTERED}, _is_abstained),
    ({"xargs": {"vfd_threshold": 0.99}}, _is_abstained),  # it filters, and finds nothing
    ({"xargs": {"abstain_threshold": "never"}}, _is_steered),
    ({"xargs": {"abstain_threshold": 0.01, "vfd_threshold": 0.99}}, _is_untouched),
    ({"xargs": {"steer": "false"}}, _is_exempt),
    ({"xargs": LEFT_ALONE}, _is_exempt),
    ({"xargs": {"abstain_threshold": 7}}, _is_refused),
    ({"xargs": {"steer_test": "abstain"}}, _is_tested),
    ({"xargs": {**UNFILTERED, "abstain_action": "message"}}, _is_told),
    ({"xargs": {"steer_head": "lenient", "vfd_threshold": 0.99}}, _is_untouched),
]
