"""An outcome may come late, or never: an answer does not depend on it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest

from tests.http.server import JSON, Client, Server, abstained, choice, outcome
from tests.http.test_replies import CHAT, CHOICES, TOLD, written
from value_steer.http.engines import Engines, Outcomes
from value_steer.http.notices import Notices


def finder(client: Any, patience: float = 0.3, slowest: float = 60) -> Outcomes:
    """As the middleware has it, with another patience."""
    return Outcomes(Engines(client), Notices(), patience, slowest)


def test_answers_that_wait_are_asked_for_together() -> None:
    """However many end at once, it is one call."""
    client = Client({f"chatcmpl-{i}": {"0": outcome(f"e{i}")} for i in range(32)})

    async def ask() -> list[Any]:
        outcomes = finder(client)
        return await asyncio.gather(*(outcomes.find([f"chatcmpl-{i}"], 0, 0.0) for i in range(32)))

    found = asyncio.run(ask())

    assert [one["request_id"] for one in found] == [f"e{i}" for i in range(32)]
    assert len(client.asked("steer_answers")) == 1


def test_an_outcome_may_come_late() -> None:
    """As it does where the scheduler lives in another process than the worker."""
    client = Client()

    async def before(_: str) -> None:
        if len(client.calls) == 3:
            client.answers["chatcmpl-a"] = {"0": outcome("e")}

    client.before = before

    async def ask() -> Any:
        return await finder(client, patience=60).find(["chatcmpl-a"], 0, 0.0)

    assert asyncio.run(ask())["request_id"] == "e"
    assert len(client.calls) == 3


def test_an_answer_without_an_outcome_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    """After a second, byte for byte; it is said once."""
    server = Server(Client(), JSON, [CHOICES])

    async def ask() -> list[bytes]:
        return [reply.body for reply in await asyncio.gather(server.ask(CHAT), server.ask(CHAT))]

    started = time.monotonic()
    assert asyncio.run(ask()) == [CHOICES, CHOICES]
    assert time.monotonic() - started > 0.9
    assert caplog.text.count("did not come: passed on") == 1


def test_where_no_outcome_ever_comes_nobody_waits_for_long() -> None:
    """After some that never came, each is asked for once; one that comes restores the patience."""
    client = Client()

    async def ask() -> None:
        outcomes = finder(client, patience=0.05)
        for i in range(8):
            assert await outcomes.find([f"none-{i}"], 0, 0.0) is None
        asked = len(client.calls)
        assert await outcomes.find(["none"], 0, 0.0) is None
        assert len(client.calls) == asked + 1
        client.answers["some"] = {"0": outcome("e")}
        assert await outcomes.find(["some"], 0, 0.0) is not None
        assert await outcomes.find(["none"], 0, 0.0) is None
        assert len(client.calls) > asked + 3

    asyncio.run(ask())


def test_an_engine_that_fails_costs_the_outcome_only(caplog: pytest.LogCaptureFixture) -> None:
    """At once, not after a second."""
    client = Client({"chatcmpl-a": {"0": abstained("e")}})

    async def before(method: str) -> None:
        if method == "steer_answers":
            raise RuntimeError(method)

    client.before = before

    async def ask() -> Any:
        return await asyncio.wait_for(finder(client, patience=100).find(["chatcmpl-a"], 0, 0.0), 50)

    assert asyncio.run(ask()) is None
    assert asyncio.run(Server(client, JSON, [CHOICES]).ask(CHAT)).body == CHOICES
    assert "RuntimeError: steer_answers" in caplog.text


def test_an_engine_that_is_in_a_long_step_is_waited_for() -> None:
    """It knows nothing less for being slow."""
    client = Client({"chatcmpl-a": {"0": outcome("e")}})

    async def before(_: str) -> None:
        await asyncio.sleep(0.3)

    client.before = before

    async def ask() -> Any:
        return await finder(client, patience=0.05).find(["chatcmpl-a"], 0, 0.0)

    assert asyncio.run(ask())["request_id"] == "e"


def test_an_engine_that_does_not_answer_holds_up_nobody() -> None:
    """The first answers wait as long as they may, the next ones not at all, until it answers."""
    client = Client({"c": {"0": outcome("e")}})

    async def ask() -> None:
        answers = asyncio.Event()

        async def before(_: str) -> None:
            await answers.wait()

        client.before = before
        outcomes = finder(client, slowest=1)
        assert await outcomes.find(["a"], 0, 0.0) is None
        started = time.monotonic()
        assert await outcomes.find(["b"], 0, 0.0) is None
        assert time.monotonic() - started < 0.9
        assert len(client.calls) == 1
        answers.set()
        await asyncio.sleep(0.1)
        assert await outcomes.find(["c"], 0, 0.0) is not None

    asyncio.run(ask())


def test_an_id_that_is_used_again_does_not_get_the_outcome_before() -> None:
    """A caller chooses ids; the engine's own are never the same."""
    client = Client({"chatcmpl-a": {"0": outcome("chatcmpl-a-11111111", arrived=1.5)}})

    async def ask() -> Any:
        outcomes = finder(client, patience=60)
        assert (await outcomes.find(["chatcmpl-a"], 0, 1.0) or {})["value"] == 0.75
        asking = asyncio.create_task(outcomes.find(["chatcmpl-a"], 0, 2.0))
        await asyncio.sleep(0.05)
        assert not asking.done()
        later = outcome("chatcmpl-a-22222222", value=0.5, arrived=2.5)
        client.answers["chatcmpl-a"] = {"0": later}
        return await asking

    assert asyncio.run(ask())["value"] == 0.5


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{}", {"x-request-id": "a"}),
        (b'{"request_id": "a"}', {}),
        (b'{"request\\u005fid": "\\u0061"}', {}),
        ('{"request_id": "a"}'.encode("utf-16"), {}),
    ],
)
def test_one_id_for_two_requests_at_a_time_gets_no_outcome(
    body: bytes, headers: dict[str, str]
) -> None:
    """Nobody can say whose it is; a caller chooses ids in a header or in the body."""
    client = Client({"chatcmpl-a": {"0": abstained("e")}})
    server = Server(client, JSON, [CHOICES])

    async def pause(_: int) -> None:
        await asyncio.sleep(0.02)

    server.pause = pause

    async def ask() -> list[bytes]:
        known = {"x-request-id": "a"}
        both = (server.ask(CHAT, body, headers=headers), server.ask(CHAT, b"{}", headers=known))
        last = await asyncio.gather(*both), await server.ask(CHAT, body, headers=headers)
        return [reply.body for reply in (*last[0], last[1])]

    first, second, alone = asyncio.run(ask())
    assert first == second == CHOICES
    assert b"value_steer" in alone


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b'{"request_id": 5}', b"\xff"])
def test_a_body_that_is_no_request_is_the_servers_affair(body: bytes) -> None:
    """It says what is wrong with it."""
    client = Client({"chatcmpl-a": {"0": abstained("e")}})

    assert b"value_steer" in asyncio.run(Server(client, JSON, [CHOICES]).ask(CHAT, body)).body


def test_a_clock_that_is_set_back_costs_no_answer_its_outcome() -> None:
    """But where a caller chose the id, and used it before perhaps."""
    client = Client({"chatcmpl-a": {"0": abstained("e", arrived=time.time() - 3600)}})
    server = Server(client, JSON, [CHOICES])

    assert b"value_steer" in asyncio.run(server.ask(CHAT)).body


def test_a_caller_that_goes_does_not_disturb_the_others() -> None:
    """Its answer is no longer waited for."""
    client = Client()

    async def ask() -> Any:
        outcomes = finder(client, patience=60)
        gone = asyncio.create_task(outcomes.find(["gone"], 0, 0.0))
        stays = asyncio.create_task(outcomes.find(["chatcmpl-a"], 0, 0.0))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.wait([gone])
        assert gone.cancelled()
        client.answers |= {"gone": {"0": outcome("g")}, "chatcmpl-a": {"0": outcome("e")}}
        found = await stays
        assert client.asked("steer_answers")[-1] == (["chatcmpl-a"],)
        return found

    assert asyncio.run(ask())["request_id"] == "e"


def test_a_client_that_disconnects_is_the_servers_affair() -> None:
    """Its error reaches the application, which stops generating."""
    server = Server(Client({"chatcmpl-a": {"0": abstained("e")}}), JSON, [CHOICES])

    async def send(message: Any) -> None:
        raise OSError(message["type"])

    with pytest.raises(OSError, match="response"):
        asyncio.run(server.ask(CHAT, send=send))


def test_an_engine_that_runs_unsteered_is_not_asked() -> None:
    """Nobody waits for what never comes."""
    client = Client()
    client.status["modes"] = {}

    reply = asyncio.run(Server(client, JSON, [CHOICES]).ask(CHAT))

    assert reply.body == CHOICES
    assert client.asked("steer_answers") == []


def test_the_first_answers_of_a_server_have_outcomes_too() -> None:
    """Those that come while it is not known yet whether the engine steers."""
    client = Client({f"chatcmpl-{i}": {"0": abstained(f"e{i}")} for i in range(8)})

    async def before(_: str) -> None:
        await asyncio.sleep(0.02)

    client.before = before
    body = {"choices": [choice(0)]}

    async def ask() -> list[Any]:
        server = Server(client, JSON)
        replies = []
        for i in range(8):
            server.parts = [written({"id": f"chatcmpl-{i}", **body})]
            replies.append(asyncio.create_task(server.ask(CHAT)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return await asyncio.gather(*replies)

    assert all(r.json["choices"][0]["value_steer"] == TOLD for r in asyncio.run(ask()))


def test_a_worker_that_is_not_ours_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Its server answers as if the middleware were not there."""
    caplog.set_level(logging.WARNING)

    class Foreign:
        async def collective_rpc(self, method: str, *, args: tuple[Any, ...]) -> list[Any]:
            raise AttributeError(method, args)

    server = Server(None, JSON, [CHOICES])
    server.state.engine_client = Foreign()

    async def ask() -> list[bytes]:
        return [(await server.ask(CHAT)).body for _ in range(3)]

    assert asyncio.run(ask()) == [CHOICES] * 3
    assert caplog.text.count("is its worker value-steer's?") == 1


class Core:
    """The part of a client that knows several engines."""

    core_engines = (b"0", b"1")

    async def _call_utility_async(self, *call: Any, engine: bytes) -> list[Any]:
        _, method, timeout, (names,), kwargs = call
        assert (method, timeout, kwargs) == ("steer_answers", None, None)
        name = f"chatcmpl-{engine.decode()}"
        return [{name: {"0": outcome(name)}} if name in names else {}]


def test_every_engine_is_asked() -> None:
    """Under data parallelism the server's own call returns what the first engine says."""
    client = Client()
    client.engine_core = Core()  # type: ignore[attr-defined]

    async def ask() -> list[Any]:
        outcomes = finder(client)
        return [await outcomes.find([f"chatcmpl-{i}"], 0, 0.0) for i in range(2)]

    assert [one["request_id"] for one in asyncio.run(ask())] == ["chatcmpl-0", "chatcmpl-1"]
    assert Engines(client).reaches_all


def test_answers_of_one_request_may_come_from_several_engines() -> None:
    """Under data parallelism each engine knows some of them, and the last one under an id."""
    entered = 50.0

    class Both(Core):
        async def _call_utility_async(self, *_: Any, engine: bytes) -> list[Any]:
            which = int(engine)
            told = {str(which): outcome(f"{which}"), "2": outcome(f"old-{which}", arrived=49.0)}
            if which == 0:
                told["2"] = outcome("new", arrived=51.0)
            return [{"chatcmpl-a": told}]

    client = Client()
    client.engine_core = Both()  # type: ignore[attr-defined]

    async def ask() -> list[Any]:
        outcomes = finder(client)
        return [await outcomes.find(["chatcmpl-a"], answer, entered) for answer in range(3)]

    assert [one["request_id"] for one in asyncio.run(ask())] == ["0", "1", "new"]


def test_an_outcome_of_an_earlier_request_is_not_an_answers_own() -> None:
    """One that its caller gave up under the same id, and that nobody asked for."""
    client = Client({"chatcmpl-a": {"0": abstained("given up", arrived=time.time())}})
    server = Server(client, JSON, [CHOICES])

    async def before(method: str) -> None:
        if len(client.asked(method)) == 3:
            client.answers["chatcmpl-a"]["0"] = outcome("own", arrived=time.time())

    client.before = before
    reply = asyncio.run(server.ask(CHAT, b'{"request_id": "a"}'))

    assert reply.json["choices"][0]["value_steer"]["outcome"] == "steered"


def test_engines_that_cannot_all_be_asked_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """Answers carry no outcomes then, rather than half of them after a second."""
    client = Client({"chatcmpl-a": {"0": abstained("e")}})

    class Older:
        core_engines = (b"0", b"1")

    client.engine_core = Older()  # type: ignore[attr-defined]

    assert asyncio.run(Server(client, JSON, [CHOICES]).ask(CHAT)).body == CHOICES
    assert client.calls == []
    assert "the first of its engines only" in caplog.text
