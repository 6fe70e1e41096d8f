"""A server as small as can be: an ASGI application with routes, and an engine's client."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from value_steer.http import Steering

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from value_steer.http.asgi import Application, Message, Receive, Scope, Send

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream; charset=utf-8"}

STATUS: dict[str, Any] = {
    "version": "1.0",
    "vllm": "0.28.0",
    "lane": "cpu",
    "runner": "v1",
    "disabled": False,
    "modes": {"abstain": {"threshold": 0.5}, "vfd": {"threshold": "never"}},
    "control_share": 0.25,
    "evidence": {"abstain": {"standing": "validated", "message": "…"}},
}
COUNTERS: dict[str, Any] = {
    "judged": 70,
    "abstained": 3,
    "thinking_ended": 1,
    "exhausted": 1,
    "refused": 2,
    "unendable": 0,
    "filtered": 50,
    "repeated": 6,
    "interventions": 5,
    "no_acceptable": 4,
    "unscored": 0,
    "swallowed_errors": 0,
    "finished": 20,
    "exempt": 7,
    "controls": 2,
    "recorded": 1,
    "steps": 90,
    "step_seconds": 0.25,
    "p_good": [1, 2, *[0] * 17, 3],
    "p_undesirable": [0] * 20,
}


def outcome(request_id: str, **fields: Any) -> dict[str, Any]:
    """As a worker gives it, of a request that was steered to its own end."""
    plain: dict[str, Any] = {
        "request_id": request_id,
        "arrived": math.inf,
        "abstained": False,
        "ending": None,
        "refused": None,
        "response_tokens": None,
        "value": 0.75,
        "threshold": 0.5,
        "interventions": 0,
        "no_acceptable": 0,
        "unscored": 0,
        "p_undesirable": None,
        "vfd_threshold": None,
        "lowest": 0.625,
        "judged": 3,
        "action": None,
        "values": None,
        "undesirable": None,
        "control": False,
    }
    return {**plain, **fields}


def abstained(request_id: str, **fields: Any) -> dict[str, Any]:
    """The outcome of a request that a head ended."""
    ended = {
        "ending": "value_steer:abstained",
        "abstained": True,
        "action": "end",
        "response_tokens": 4,
        "value": 0.125,
    }
    return outcome(request_id, **ended, **fields)


@dataclass
class Client:
    """An engine's client.

    Attributes:
        answers: What ``steer_answers`` knows, by the id that callers know and the answer's number.
        calls: The methods that were called, with their arguments.
        before: Is awaited at each call; may raise.
    """

    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    before: Callable[[str], Awaitable[None]] | None = None
    status: dict[str, Any] = field(default_factory=lambda: dict(STATUS))
    counters: dict[str, Any] = field(default_factory=lambda: dict(COUNTERS))

    async def collective_rpc(self, method: str, *, args: tuple[Any, ...] = ()) -> list[Any]:
        """What two workers say."""
        self.calls.append((method, args))
        if self.before is not None:
            await self.before(method)
        await asyncio.sleep(0)
        return [getattr(self, f"_{method}")(*args), None]

    def asked(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of the calls of a method."""
        return [args for name, args in self.calls if name == method]

    def _steer_answers(self, names: list[str]) -> dict[str, dict[str, Any]]:
        return {name: dict(self.answers[name]) for name in names if name in self.answers}

    def _steer_status(self) -> dict[str, Any]:
        return self.status

    def _steer_counters(self) -> dict[str, Any]:
        return self.counters

    def _steer_set_thresholds(self, thresholds: dict[str, Any]) -> dict[str, Any]:
        modes = self.status["modes"]
        changed = {mode: {"threshold": value} for mode, value in thresholds.items()}
        self.status = {**self.status, "modes": {**modes, **changed}}
        return dict(self.status["modes"])


@dataclass
class Reply:
    """What a client of the server received."""

    messages: list[Message]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        """By name."""
        return {key.decode(): value.decode() for key, value in self.messages[0]["headers"]}

    @property
    def parts(self) -> list[bytes]:
        """The body as it came."""
        return [message["body"] for message in self.messages[1:]]

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class Server:
    """An application behind the middleware, which answers everything in one way.

    Args:
        client: Of the engine.
        headers: Of each response.
        parts: Of each response's body.
        status: Of each response.
    """

    def __init__(
        self,
        client: Client | None,
        headers: dict[str, str] | None = None,
        parts: Sequence[bytes] = (),
        status: int = 200,
    ) -> None:
        self.state = SimpleNamespace() if client is None else SimpleNamespace(engine_client=client)
        self.headers, self.parts, self.status = headers or JSON, list(parts), status
        self.routes: dict[str, tuple[Application, list[str]]] = {}
        self.seen: list[Scope] = []
        self.pause: Callable[[int], Awaitable[None]] | None = None
        self.outermost = Steering(self._answer)

    def add_route(self, path: str, route: Application, methods: list[str]) -> None:
        """As an application of Starlette takes it."""
        self.routes[path] = (route, methods)

    async def ask(
        self,
        path: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        send: Send | None = None,
    ) -> Reply:
        """Send a request and receive the whole response."""
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            messages.append(message)
            if send is not None:
                await send(message)

        pairs = [(key.encode(), value.encode()) for key, value in (headers or {}).items()]
        scope = {"type": "http", "app": self, "path": path, "method": method, "headers": pairs}
        await self.outermost(scope, receive, keep)
        return Reply(messages)

    async def start(self) -> None:
        """What a server tells its applications first."""

        async def receive() -> Message:
            return {"type": "lifespan.startup"}

        async def send(message: Message) -> None:
            raise AssertionError(message)

        await self.outermost({"type": "lifespan", "app": self}, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope)
        if scope["type"] != "http":
            return
        if scope["path"] in self.routes:
            route, methods = self.routes[scope["path"]]
            assert scope["method"] in methods
            await route(scope, receive, send)
            return
        await receive()
        pairs = [(key.encode(), value.encode()) for key, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        for at, part in enumerate(self.parts):
            if self.pause is not None:
                await self.pause(at)
            more = at + 1 < len(self.parts)
            await send({"type": "http.response.body", "body": part, "more_body": more})


def choice(index: int, reason: str | None = "stop") -> dict[str, Any]:
    """A choice of the chat API."""
    return {"index": index, "message": {"content": "“w005” \u2028"}, "finish_reason": reason}


def event(value: object, name: str = "") -> bytes:
    """An event of a stream."""
    head = f"event: {name}\n" if name else ""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return f"{head}data: {text}\n\n".encode()
