"""Through the real OpenAI server with the real client, as an operator and a caller would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour.heads import BAD_TOKENS

if TYPE_CHECKING:
    from openai import OpenAI

    from compat.behaviour.server import Server

pytestmark = [pytest.mark.depth("fires"), pytest.mark.detects_dead]

_PROMPT = "w005 w006 w007 w008"
_ABSTAIN_ONLY = {"vfd_threshold": "never"}
_FILTER_ONLY = {"abstain_threshold": "never"}


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    """The official client."""
    from openai import OpenAI

    return OpenAI(base_url=server.url(), api_key="none", max_retries=0)


def _complete(client: OpenAI, **vllm_xargs: object) -> tuple[list[int], str]:
    completion = client.completions.create(
        model="tiny",
        prompt=_PROMPT,
        max_tokens=60,
        temperature=0.0,
        extra_body={"vllm_xargs": vllm_xargs},
    )
    choice = completion.choices[0]
    words = [word[1:] for word in choice.text.split()]
    return [int(word) for word in words if word.isdigit()], choice.finish_reason


@pytest.mark.mode("abstain")
def test_a_completion_ends_at_its_first_bad_token(client: OpenAI) -> None:
    """The same request with and without steering, told apart by vllm_xargs alone."""
    natural, _ = _complete(client, steer=False)
    steered, reason = _complete(client, **_ABSTAIN_ONLY)

    first_bad = next(i for i, token in enumerate(natural) if token in BAD_TOKENS)
    assert steered == natural[: first_bad + 1]
    assert reason == "stop"


@pytest.mark.mode("abstain")
def test_a_threshold_of_the_request_applies_over_http(client: OpenAI) -> None:
    """A caller's own threshold ends the answer earlier, or never."""
    natural, _ = _complete(client, steer=False)
    strict, _ = _complete(client, abstain_threshold=1.0, **_ABSTAIN_ONLY)
    never, _ = _complete(client, abstain_threshold="never", **_ABSTAIN_ONLY)

    assert strict == natural[:1]
    assert never == natural


@pytest.mark.mode("abstain")
def test_a_streamed_chat_is_ended_in_mid_stream(client: OpenAI) -> None:
    """A chat streamed token by token ends at the same place as one that is not."""
    chat: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": 60,
        "temperature": 0.0,
        "extra_body": {"vllm_xargs": _ABSTAIN_ONLY},
    }
    whole = client.chat.completions.create(**chat).choices[0]
    chunks = list(client.chat.completions.create(**chat, stream=True))

    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed.split() == whole.message.content.split()
    assert int(streamed.split()[-1][1:]) in BAD_TOKENS
    assert whole.finish_reason == "stop"


@pytest.mark.mode("vfd")
def test_a_completion_over_http_is_filtered(client: OpenAI) -> None:
    """The same request with and without steering, told apart by vllm_xargs alone."""
    natural, _ = _complete(client, steer=False)
    never, _ = _complete(client, vfd_threshold="never", **_FILTER_ONLY)
    filtered, _ = _complete(client, **_FILTER_ONLY)

    assert never == natural
    assert BAD_TOKENS & set(natural)
    assert not BAD_TOKENS & set(filtered)
