"""Steering over HTTP on the real server, with the real clients of callers and operators."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour.callers import KINDS, MESSAGES, UNFILTERED, chat
from compat.behaviour.heads import BAD_TOKENS
from compat.behaviour.server import KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai import OpenAI

    from compat.behaviour.server import Server

pytestmark = [pytest.mark.depth("fires"), pytest.mark.mode("abstain"), pytest.mark.mode("vfd")]

_REQUESTS, _AT_ONCE = 500, 32


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[OpenAI]:
    """The official client; a connection that it left open would fail whichever test comes later."""
    from openai import OpenAI

    # As many as by default: vLLM 0.19 closes a connection after an error, which the client may be
    # using again by then.
    with OpenAI(base_url=server.url(), api_key=KEY, max_retries=2) as official:
        yield official


@pytest.mark.detects_dead
def test_a_caller_can_tell_what_became_of_each_of_many_answers(client: OpenAI) -> None:
    """Five hundred of all kinds, streamed and not, 32 at a time: no outcome is another's."""

    def ask(number: int) -> None:
        options, check = KINDS[number % len(KINDS)]
        check(chat(client, stream=number // len(KINDS) % 2 == 1, **options))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        assert len(list(pool.map(ask, range(_REQUESTS)))) == _REQUESTS


def test_an_answer_that_ends_at_a_word_has_its_outcome(client: OpenAI) -> None:
    """The server itself ends it there, and tells the engine afterwards."""
    natural = chat(client, stream=False, xargs={"steer": "false"})
    word = f"w{natural.tokens[3]:03}"

    for stream in (False, True):
        reply = chat(client, stream=stream, stop=[word], xargs={"abstain_threshold": "never"})
        assert reply.told["outcome"] == "steered"
        ended = chat(client, stream=stream, stop=[word], xargs={"steer": "false"})
        assert ended.reason == ("stop", word)
        assert ended.told["outcome"] == "exempt"


@pytest.mark.detects_dead
@pytest.mark.parametrize("stream", [False, True])
def test_the_choices_of_several_prompts_are_told_apart(client: OpenAI, *, stream: bool) -> None:
    """Each has the values of its own tokens."""
    request: dict[str, Any] = {
        "model": "tiny",
        "prompt": ["w005 w006 w007 w008", "w100"],
        "n": 2,
        "seed": 5,
        "max_tokens": 9,
        "extra_body": {"vllm_xargs": {"steer_values": "true", **UNFILTERED}},
    }
    answer: Any = client.completions.create(**request, stream=stream)
    choices = [c for chunk in answer for c in chunk.choices] if stream else answer.choices
    texts, told = dict.fromkeys(range(4), ""), dict[int, Any]()
    for choice in choices:
        texts[choice.index] += choice.text
        if choice.finish_reason is not None:
            told[choice.index] = choice.model_extra["value_steer"]

    assert len(told) == 4
    for index, text in texts.items():
        good = [int(word[1:]) not in BAD_TOKENS for word in text.split()]
        values = told[index]["values"]
        # The last token of an answer that is not ended is judged by nobody.
        assert [value > 0.5 for value in values] == good[: len(values)]
        assert len(good) - len(values) == (told[index]["outcome"] == "steered")
    assert len({str(one["values"]) for one in told.values()}) == 4


@pytest.mark.detects_dead
@pytest.mark.parametrize("stream", [False, True])
def test_a_response_has_its_outcome(client: OpenAI, *, stream: bool) -> None:
    """At the top of the response, which the last event of a stream holds."""
    request: dict[str, Any] = {
        "model": "tiny",
        "input": MESSAGES[0]["content"],
        "max_output_tokens": 12,
        "temperature": 0.0,
        "extra_body": {"vllm_xargs": UNFILTERED},
    }
    answer: Any = client.responses.create(**request, stream=stream)
    if stream:
        answer = [event for event in answer if event.type == "response.completed"][-1].response

    told = answer.model_extra["value_steer"]
    assert told["outcome"] == "abstained"
    assert told["stopped_at"] == len(answer.output_text.split())


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_has_its_outcome(server: Server, *, stream: bool) -> None:
    """At the top of the message, or of the event that says why it stopped."""
    request = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "stream": stream}
    status, text = server.ask("/v1/messages", request)
    if status == 404:
        pytest.skip("this release has no such API")

    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data:")]
    events = [json.loads(line) for line in (lines if stream else [text])]
    (told,) = (event["value_steer"] for event in events if "value_steer" in event)
    assert told["vfd_threshold"] == told["threshold"] == 0.5
    assert told["outcome"] in {"abstained", "steered"}


def test_the_metrics_of_the_server_count_what_it_did(client: OpenAI, server: Server) -> None:
    """In its own exposition, in a format that a scraper reads."""
    from prometheus_client.parser import text_string_to_metric_families

    def scraped() -> dict[tuple[str, str], float]:
        text = server.ask("/metrics")[1]
        return {
            (sample.name, "/".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith(("value_steer", "vllm:"))
        }

    before = scraped()
    chat(client, stream=False, xargs=UNFILTERED)
    chat(client, stream=True, xargs={"steer": "false"})
    after = _await_changed(scraped, before)

    total = "value_steer_requests_total"
    assert after[total, "abstained"] == before[total, "abstained"] + 1
    assert after[total, "exempt"] == before[total, "exempt"] + 1
    assert (
        after["value_steer_p_good_bucket", "+Inf"] == after["value_steer_judged_tokens_total", ""]
    )
    assert any(name.startswith("vllm:") for name, _ in after)


def test_an_operator_changes_a_threshold_while_the_server_runs(
    client: OpenAI, server: Server
) -> None:
    """For the requests that come then; a bad one is refused with the reason."""
    strict, usual = {"abstain": 1.0}, {"abstain": 0.5}
    try:
        status, text = server.ask("/v1/value-steer/thresholds", strict)
        assert (status, json.loads(text)["modes"]["abstain"]["threshold"]) == (200, 1.0)
        assert chat(client, stream=False, xargs=UNFILTERED).told["stopped_at"] == 1
    finally:
        assert server.ask("/v1/value-steer/thresholds", usual)[0] == 200

    status, text = server.ask("/v1/value-steer/thresholds", {"abstain": 4})
    assert status == 400
    assert "thresholds.abstain = 4" in json.loads(text)["error"]["message"]
    told = json.loads(server.ask("/v1/value-steer")[1])
    assert told["modes"]["abstain"]["threshold"] == 0.5
    assert sorted(told["evidence"]) == ["abstain", "vfd"]
    assert told["counters"]["swallowed_errors"] == 0


def test_the_servers_key_guards_the_controls(client: OpenAI, server: Server) -> None:
    """Without it nobody reads them, and nobody changes a threshold."""
    assert client.api_key == KEY
    assert server.ask("/v1/value-steer", key="")[0] == 401
    assert server.ask("/v1/value-steer/thresholds", {"abstain": 1.0}, key="wrong")[0] == 401
    assert json.loads(server.ask("/v1/value-steer")[1])["modes"]["abstain"]["threshold"] == 0.5


def _await_changed(read: Callable[[], Any], before: Any) -> Any:
    """Poll until a reading differs from ``before``, as a reading may be a second old."""
    for _ in range(20):
        time.sleep(1.1)
        if (after := read()) != before:
            return after
    return before
