"""Two engines behind one server, each steering for itself."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour import batches
from compat.behaviour.oracle import ended_at_first_bad
from compat.behaviour.server import Server
from compat.behaviour.test_tensor_parallel import CORES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openai import OpenAI

    from compat.behaviour.engines import Engine, PlainEngine
    from compat.behaviour.messages import Request

pytestmark = [pytest.mark.depth("equal"), pytest.mark.detects_dead, pytest.mark.two_devices]

_BATCH = batches.greedy(24)
_TWO = ("--data-parallel-size", "2")
_ENVIRONMENT = {**CORES, "VLLM_SERVER_DEV_MODE": "1"}


@pytest.fixture(scope="module")
def url(
    workshop: Path, model_of: Callable[[str], Path], recognising_head: Callable[[str], str]
) -> Iterator[str]:
    """The base URL of a server of two engines that do both."""
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    server = Server(
        model_of("mistral"),
        {"abstain": section, "vfd": section},
        workshop / "two.log",
        more=_TWO,
        env=_ENVIRONMENT,
    )
    try:
        yield server.url()
    finally:
        server.end()


@pytest.fixture(scope="module")
def two(url: str) -> OpenAI:
    """The official client of that server."""
    from openai import OpenAI

    return OpenAI(base_url=url, api_key="none", max_retries=0)


def _complete(client: OpenAI, batch: list[Request], **vllm_xargs: object) -> list[list[int]]:
    """The tokens of answers to prompts that are sent together."""
    completion = client.completions.create(
        model="tiny",
        prompt=[request.prompt for request in batch],
        max_tokens=24,
        temperature=0.0,
        extra_body={"vllm_xargs": vllm_xargs, "return_token_ids": True},
    )
    return [choice.token_ids for choice in completion.choices]  # type: ignore[attr-defined]


def _outcomes(url: str) -> list[list[dict[str, Any]]]:
    """The outcomes of all engines that are asked."""
    asked = urllib.request.Request(  # noqa: S310  (our own loopback server)
        url.replace("/v1", "/collective_rpc"),
        data=json.dumps({"method": "steer_outcomes"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=60) as reply:  # noqa: S310
        results: list[list[dict[str, Any]]] = json.load(reply)["results"]
    return results


@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
def test_each_of_several_answers_says_what_became_of_it(two: OpenAI) -> None:
    """Whichever engine it came from; the same id in turn as well."""
    for _ in range(3):
        completion = two.completions.create(
            model="tiny",
            prompt=[request.prompt for request in _BATCH[:3]],
            n=4,
            max_tokens=8,
            seed=1,
            extra_headers={"X-Request-Id": "in-turn"},
        )
        told = [(choice.model_extra or {}).get("value_steer") for choice in completion.choices]
        assert all(one and one["vfd_threshold"] == 0.5 for one in told), told


@pytest.mark.mode("vfd")
@pytest.mark.mode("abstain")
def test_two_engines_steer_as_one_does(
    two: OpenAI, url: str, filtering: Engine, plain: PlainEngine
) -> None:
    """Whichever engine a request gets to, and both get some."""
    natural = [answer.tokens for answer in plain.generate(_BATCH)]
    (before,) = _outcomes(url)

    assert _complete(two, _BATCH, steer=False) == natural
    filtered = _complete(two, _BATCH, abstain_threshold="never")
    ended = _complete(two, _BATCH, vfd_threshold="never")

    assert filtered == [answer.tokens for answer in filtering.generate(_BATCH)]
    assert ended == [ended_at_first_bad(tokens) for tokens in natural]
    _complete(two, _BATCH, steer=False)  # the last outcomes travel with the steps after them
    # vLLM asks both engines and returns what the first says.
    (of_first,) = _outcomes(url)
    assert 0 < len(of_first) - len(before) < 3 * len(_BATCH)
