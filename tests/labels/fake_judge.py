"""A small server that speaks as much of the OpenAI protocol as a judge needs."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class FakeJudge:
    """What it serves, and what it was asked.

    Attributes:
        answer: The word for a question; ``None`` for no text at all.
        finish: Why its answers end.
        logprobs: Of its first token: token and log-probability.
        refuses: Parameters that it answers with a 400.
        raw: A body that it sends in place of a completion.
        model: Its name.
        owned_by: What the list of models says of the model's owner.
        failures: Statuses of the next answers, before they come right.
        asked: The bodies of all questions.
        most_at_once: The largest number of questions that were open at a time.
        url: Where it is.
    """

    answer: Callable[[str], str | None]
    finish: str = "stop"
    logprobs: dict[str, float] | None = None
    refuses: frozenset[str] = frozenset()
    raw: object = None
    model: str = "tiny"
    owned_by: str = "somebody"
    failures: list[int] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    url: str = ""


@contextmanager
def serving(judge: FakeJudge) -> Iterator[FakeJudge]:
    """Serve it on a free port."""
    lock = threading.Lock()
    open_now = 0

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served = {"id": judge.model, "owned_by": judge.owned_by}
            model = {**served, "object": "model", "created": 0}
            self._send(200, {"object": "list", "data": [model]})

        def do_POST(self) -> None:
            nonlocal open_now
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                open_now += 1
                judge.most_at_once = max(judge.most_at_once, open_now)
                judge.asked.append(body)
                status = judge.failures.pop(0) if judge.failures else 200
                status = 400 if judge.refuses & body.keys() else status
            threading.Event().wait(0.02)
            with lock:
                open_now -= 1
            if status != 200:
                self._send(status, {"error": {"message": f"status {status}"}})
                return
            word = judge.answer(body["messages"][-1]["content"])
            message = {"role": "assistant", "content": word}
            choice: dict[str, Any] = {
                "index": 0,
                "finish_reason": judge.finish,
                "message": message,
            }
            if judge.logprobs is not None:
                top = [{"token": t, "logprob": p, "bytes": None} for t, p in judge.logprobs.items()]
                first = {**top[0], "top_logprobs": top}
                choice["logprobs"] = {"content": [first]}
            if judge.raw is not None:
                self._send(200, judge.raw)
                return
            kind = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny"}
            self._send(200, {**kind, "choices": [choice]})

        def _send(self, status: int, body: object) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its base's name)
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        judge.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield judge
        finally:
            server.shutdown()
            thread.join()
