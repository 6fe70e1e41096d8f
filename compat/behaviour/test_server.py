"""Through the real OpenAI server with the real client, as an operator and a caller would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.mode("abstain"), pytest.mark.depth("fires")]

_PROMPT = "w005 w006 w007 w008"


@pytest.fixture(scope="module")
def client(
    workshop: Path, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> Iterator[Any]:
    """The official client of a server that abstains on bad tokens."""
    from openai import OpenAI

    abstain = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    with serving(model_of("mistral"), {"abstain": abstain}, workshop / "server.log") as url:
        yield OpenAI(base_url=url, api_key="none", max_retries=0)


def _complete(client: Any, **extra: object) -> tuple[list[int], str]:
    completion = client.completions.create(
        model="tiny", prompt=_PROMPT, max_tokens=60, temperature=0.0, extra_body=extra or None
    )
    choice = completion.choices[0]
    return [int(word[1:]) for word in choice.text.split()], choice.finish_reason


@pytest.mark.detects_dead
def test_a_completion_ends_at_its_first_bad_token(client: Any) -> None:
    """The same request with and without steering, told apart by vllm_xargs alone."""
    natural, _ = _complete(client, vllm_xargs={"steer": False})
    steered, reason = _complete(client)

    first_bad = next(i for i, token in enumerate(natural) if token in BAD_TOKENS)
    assert steered == natural[: first_bad + 1]
    assert reason == "stop"


@pytest.mark.detects_dead
def test_a_threshold_of_the_request_applies_over_http(client: Any) -> None:
    """A caller's own threshold ends the answer earlier, or never."""
    natural, _ = _complete(client, vllm_xargs={"steer": False})
    strict, _ = _complete(client, vllm_xargs={"abstain_threshold": 1.0})
    never, _ = _complete(client, vllm_xargs={"abstain_threshold": "never"})

    assert strict == natural[:1]
    assert never == natural


@pytest.mark.detects_dead
def test_a_streamed_chat_is_ended_in_mid_stream(client: Any) -> None:
    """A chat streamed token by token ends at the same place as one that is not."""
    chat = {
        "model": "tiny",
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": 60,
        "temperature": 0.0,
    }
    whole = client.chat.completions.create(**chat).choices[0]
    chunks = list(client.chat.completions.create(**chat, stream=True))

    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed.split() == whole.message.content.split()
    assert int(streamed.split()[-1][1:]) in BAD_TOKENS
    assert whole.finish_reason == "stop"
