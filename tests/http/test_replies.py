"""An answer carries its outcome; all else of it is passed on as it was."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.server import EVENTS, JSON, Client, Server, abstained, choice, event, outcome

CHAT = "/v1/chat/completions"
TOLD = {
    "outcome": "abstained",
    "stopped_at": 4,
    "value": 0.125,
    "lowest": 0.625,
    "threshold": 0.5,
    "action": "end",
    "interventions": 0,
    "no_acceptable": 0,
    "unscored": 0,
    "p_undesirable": None,
    "vfd_threshold": None,
}


def written(value: object) -> bytes:
    """JSON as the server writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def ask(server: Server, path: str = CHAT, **request: Any) -> Any:
    """One request and its reply."""
    return asyncio.run(server.ask(path, **request))


def knowing(**answers: dict[str, Any]) -> Client:
    """A client that knows the first answers to requests."""
    return Client({name.replace("_", "-"): {"0": found} for name, found in answers.items()})


def test_an_answer_carries_its_outcome() -> None:
    """Beside the reason why it finished; the length is right, and nothing else has changed."""
    plain = {"id": "chatcmpl-a", "choices": [choice(0)], "usage": {"total": 1e-05}}
    body = written(plain)
    head = {**JSON, "content-length": str(len(body)), "x-request-id": "r"}

    reply = ask(Server(knowing(chatcmpl_a=abstained("chatcmpl-a-12345678")), head, [body]))

    assert reply.json["choices"][0].pop("value_steer") is not None
    told = reply.json
    assert told["choices"][0]["value_steer"] == TOLD
    del told["choices"][0]["value_steer"]
    assert written(told) == body
    assert reply.headers["content-length"] == str(len(reply.body))
    assert reply.headers["x-request-id"] == "r"


def test_a_body_may_come_in_parts() -> None:
    """It is read when it is complete."""
    body = written({"id": "chatcmpl-a", "choices": [choice(0)]})
    server = Server(knowing(chatcmpl_a=abstained("e")), JSON, [body[:9], body[9:30], body[30:]])

    assert ask(server).json["choices"][0]["value_steer"] == TOLD


def test_several_choices_are_told_apart() -> None:
    """Each one is an answer of its own."""
    client = Client({"chatcmpl-a": {"0": outcome("e"), "1": abstained("1_e")}})
    body = written({"id": "chatcmpl-a", "choices": [choice(1), choice(0)]})

    first, second = ask(Server(client, JSON, [body])).json["choices"]

    assert (first["value_steer"]["outcome"], second["value_steer"]["outcome"]) == (
        "abstained",
        "steered",
    )
    assert client.asked("steer_answers") == [(["chatcmpl-a"],)]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "steered"),
        ({"threshold": None}, "exempt"),
        ({"control": True, "threshold": 0.5}, "control"),
        ({"threshold": None, "vfd_threshold": 0.5}, "steered"),
        ({"ending": "value_steer:abstained"}, "abstained"),
        ({"action": "message", "abstained": True}, "abstained"),
        ({"action": "end_thinking"}, "thinking_ended"),
        ({"ending": "value_steer:no_acceptable"}, "no_acceptable"),
        ({"ending": "value_steer:refused", "refused": "no such key"}, "refused"),
    ],
)
def test_the_word_says_what_became_of_it(fields: dict[str, Any], word: str) -> None:
    """One word for each way."""
    client = knowing(chatcmpl_a=outcome("e", **fields))
    body = written({"id": "chatcmpl-a", "choices": [choice(0)]})

    told = ask(Server(client, JSON, [body])).json["choices"][0]["value_steer"]

    assert told["outcome"] == word
    assert told.get("refusal") == fields.get("refused")


def test_values_are_told_where_they_were_asked_for() -> None:
    """The worker keeps them for such requests only; an infinite threshold is no JSON."""
    found = outcome("e", values=(0.5, 0.25), undesirable=(), threshold=float("inf"))
    body = written({"id": "chatcmpl-a", "choices": [choice(0)]})

    reply = ask(Server(knowing(chatcmpl_a=found), JSON, [body]))

    told = reply.json["choices"][0]["value_steer"]
    assert (told["values"], told["undesirable"], told["threshold"]) == ([0.5, 0.25], [], None)
    assert b"Infinity" not in reply.body


def test_completions_of_several_prompts() -> None:
    """The choices of the first prompt come first, as many as the request says."""
    client = Client(
        {
            "cmpl-a-0": {"0": outcome("e0"), "1": outcome("e1")},
            "cmpl-a-1": {"0": abstained("e2"), "1": outcome("e3", value=0.5)},
        }
    )
    choices = [{"index": i, "text": "w", "finish_reason": "stop"} for i in range(4)]
    server = Server(client, JSON, [written({"id": "cmpl-a", "choices": choices})])

    reply = ask(server, "/v1/completions", body=b'{"n": 2, "prompt": ["a", "b"]}')

    told = [choice["value_steer"] for choice in reply.json["choices"]]
    assert [one["outcome"] for one in told] == ["steered", "steered", "abstained", "steered"]
    assert told[3]["value"] == 0.5


def test_a_message_carries_its_outcome() -> None:
    """At the top: there is one answer."""
    body = written({"id": "chatcmpl-a", "type": "message", "stop_reason": "end_turn"})

    reply = ask(Server(knowing(chatcmpl_a=abstained("e")), JSON, [body]), "/v1/messages")

    assert reply.json["value_steer"] == TOLD


def test_a_streamed_message_carries_its_outcome() -> None:
    """In the event that says why it stopped; the id came with the first one."""
    events = [
        event({"type": "message_start", "message": {"id": "chatcmpl-a"}}, "message_start"),
        event({"type": "content_block_delta"}, "content_block_delta"),
        event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, "message_delta"),
        event({"type": "message_stop"}, "message_stop"),
    ]

    parts = ask(Server(knowing(chatcmpl_a=abstained("e")), EVENTS, events), "/v1/messages").parts

    assert [parts[0], parts[1], parts[3]] == [events[0], events[1], events[3]]
    head, data = parts[2].split(b"\n", 1)
    assert head == b"event: message_delta"
    assert json.loads(data.removeprefix(b"data: "))["value_steer"] == TOLD


@pytest.mark.parametrize("turns", [1, 3])
def test_a_response_carries_the_outcome_of_its_last_turn(turns: int) -> None:
    """Streamed or not; a call of a tool makes a turn."""
    known = {f"resp_a_{turn}": {"0": outcome(f"e{turn}")} for turn in range(turns - 1)}
    known[f"resp_a_{turns - 1}"] = {"0": abstained("last")}
    whole = {"id": "resp_a", "status": "completed", "output": []}
    last = event({"type": "response.completed", "response": whole}, "response.completed")
    first = event({"type": "response.created", "response": {**whole, "status": "in_progress"}})

    plain = ask(Server(Client(known), JSON, [written(whole)]), "/v1/responses")
    streamed = ask(Server(Client(known), EVENTS, [first, last]), "/v1/responses")

    assert plain.json["value_steer"] == TOLD
    assert streamed.parts[0] == first
    told = json.loads(streamed.parts[1].partition(b"data: ")[2])
    assert told["response"]["value_steer"] == TOLD


def stream() -> list[bytes]:
    """A streamed chat of two choices."""
    name = {"id": "chatcmpl-a", "object": "chat.completion.chunk"}

    def delta(index: int, content: str, reason: str | None = None) -> bytes:
        chosen = {"index": index, "delta": {"content": content}, "finish_reason": reason}
        return event({**name, "choices": [chosen]})

    tricky = 'said "finish_reason": "stop"\n\ndata: {'
    return [
        delta(0, "w005"),
        delta(1, tricky),
        b": ping\n\n",
        delta(0, "", "stop"),
        delta(1, "w007"),
        delta(1, "", "length"),
        event({**name, "choices": [], "usage": {}}),
        event("[DONE]"),
    ]


def streaming(parts: list[bytes]) -> Server:
    """A server that streams the chat."""
    client = Client({"chatcmpl-a": {"0": abstained("e"), "1": outcome("1_e")}})
    return Server(client, EVENTS, parts)


def test_a_stream_is_passed_on_but_for_its_ends() -> None:
    """Event by event, as it came; the outcome is in the event that says why a choice finished."""
    parts = stream()

    received = ask(streaming(parts)).parts

    changed = {at for at, part in enumerate(parts) if received[at] != part}
    assert changed == {3, 5}
    told = [json.loads(received[at].removeprefix(b"data: "))["choices"][0] for at in (3, 5)]
    assert told[0]["value_steer"] == TOLD
    assert told[1]["value_steer"]["outcome"] == "steered"
    assert (told[0]["finish_reason"], told[1]["finish_reason"]) == ("stop", "length")


@given(st.lists(st.integers(0, len(b"".join(stream()))), max_size=12))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    """Wherever its messages begin and end, the same bytes come out."""
    whole = b"".join(stream())
    edges = [0, *sorted(cuts), len(whole)]
    parts = [whole[a:b] for a, b in itertools.pairwise(edges)]

    assert ask(streaming(parts)).body == ask(streaming(stream())).body


def test_what_comes_before_an_end_does_not_wait() -> None:
    """Not even where both came in one message."""
    sent: list[bytes] = []
    parts = stream()
    server = streaming([b"".join(parts)])
    client: Client = server.state.engine_client

    async def before(method: str) -> None:
        if method == "steer_answers":
            assert sent
            client.before = None

    async def send(message: Any) -> None:
        sent.extend([message["body"]] if "body" in message else [])

    client.before = before
    asyncio.run(server.ask(CHAT, send=send))

    assert sent[0] == b"".join(parts[:3])


def test_a_stream_that_breaks_off_is_passed_on() -> None:
    """The rest of an event that was never completed too."""
    parts = [*stream()[:2], b'data: {"id": "chatcmpl-a", "finish_reason": "st']

    assert ask(streaming(parts)).body == b"".join(parts)


CHOICES = written({"id": "chatcmpl-a", "choices": [choice(0)]})


@pytest.mark.parametrize(
    ("path", "method", "status", "headers", "body"),
    [
        ("/v1/embeddings", "POST", 200, JSON, CHOICES),
        ("/v1/chat/completions/batch", "POST", 200, JSON, CHOICES),
        (CHAT, "GET", 200, JSON, CHOICES),
        (CHAT, "POST", 400, JSON, CHOICES),
        (CHAT, "POST", 500, JSON, b'{"error": {}}'),
        (CHAT, "POST", 200, {"content-type": "text/plain"}, CHOICES),
        (CHAT, "POST", 200, {}, CHOICES),
        (CHAT, "POST", 200, {**JSON, "content-encoding": "gzip"}, gzip.compress(CHOICES)),
        (CHAT, "POST", 200, {**EVENTS, "content-encoding": "gzip"}, gzip.compress(CHOICES)),
        (CHAT, "POST", 200, {**EVENTS, "content-length": "9"}, b"".join(stream())),
        (CHAT, "POST", 200, JSON, b"no json"),
        (CHAT, "POST", 200, JSON, b""),
        (CHAT, "POST", 200, JSON, b"[1, 2]"),
        (CHAT, "POST", 200, JSON, b'{"choices": [{"finish_reason": "stop"}]}'),
        (CHAT, "POST", 200, JSON, b'{"id": "other", "choices": "many"}'),
        (CHAT, "POST", 200, EVENTS, b'data: "finish_reason":"stop"\n\n'),
        (CHAT, "POST", 200, EVENTS, b'data: 1\ndata: "finish_reason":"stop"\n\n'),
        ("/v1/responses", "POST", 200, JSON, b'{"id": "resp_a", "status": "queued"}'),
        ("/v1/messages", "POST", 200, JSON, b'{"type": "error", "id": "chatcmpl-a"}'),
    ],
)
def test_what_is_not_known_is_not_touched(
    path: str, method: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    """Other paths, failures, encodings, and whatever does not look like an answer."""
    plain = headers or {"x-nothing": "1"}
    server = Server(knowing(chatcmpl_a=abstained("e")), plain, [body[:7], body[7:]], status)

    reply = asyncio.run(server.ask(path, method=method))

    assert (reply.status, reply.headers, reply.body) == (status, plain, body)


@pytest.mark.parametrize("body", [b"null", b"[]", b'"gone"', b"3"])
def test_a_body_that_is_no_object_holds_no_answer(
    body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """VLLM's server says ``null`` to a request that it gives up when it is ended."""
    reply = ask(Server(knowing(chatcmpl_a=abstained("e")), JSON, [body]))

    assert reply.body == body
    assert caplog.text == ""
