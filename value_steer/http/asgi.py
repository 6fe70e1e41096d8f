"""The few names of ASGI, and what is read from its messages."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

START, BODY = "http.response.start", "http.response.body"


def header(carrier: MutableMapping[str, Any], name: bytes) -> str:
    """A header of a scope or of a response's start; empty if there is none."""
    for key, value in carrier.get("headers", ()):
        if key.lower() == name:
            return bytes(value).decode("latin-1")
    return ""


def route(scope: Scope) -> str:
    """The path of a request below the place where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def with_length(start: Message, length: int) -> Message:
    """A response's start with another length of its body."""
    others = [(key, value) for key, value in start["headers"] if key.lower() != b"content-length"]
    return {**start, "headers": [*others, (b"content-length", str(length).encode())]}


def body(content: bytes, *, more: bool = False) -> Message:
    """A part of a response's body."""
    return {"type": BODY, "body": content, "more_body": more}


async def read_body(receive: Receive, limit: int) -> bytes:
    """The body of a request, of which no more than a little over ``limit`` bytes are read."""
    content = b""
    while len(content) <= limit:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return content


async def reply(send: Send, status: int, value: object) -> None:
    """Answer a request with JSON."""
    content = dumps(value)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": START, "status": status, "headers": headers})
    await send(body(content))


def dumps(value: object) -> bytes:
    """JSON as vLLM's server writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
