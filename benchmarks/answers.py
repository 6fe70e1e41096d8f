"""The cost of outcomes for callers and of metrics for operators.

``nox -s bench-answers`` runs two real servers with the same steering, only one of which has
``value_steer.http.Steering``, and asks them in turn; both live all the time, so that what disturbs
the machine disturbs them alike. The processor time of a server and of its engine decides, wall
time stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.api_server import serving
from benchmarks.decode_models import SIZES, build, random_head, words
from compat.behaviour import facts
from compat.behaviour.engines import WORKER

if TYPE_CHECKING:
    import aiohttp

    from benchmarks.api_server import ApiServer

_LIMITS = ("--max-num-seqs", "16", "--num-gpu-blocks-override", "256")
_SHOWN = ("--middleware", "value_steer.http.Steering")


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; ``tokens`` per answer, ``answers`` per round, all at once."""

    size: str
    tokens: int
    answers: int
    rounds: int
    stream: bool


@dataclass(frozen=True)
class Round:
    """The cost of the same answers on either server: seconds of processor and of wall time."""

    processor: tuple[float, float]
    wall: tuple[float, float]


def main() -> None:
    """Measure, print the medians, write ``answers-SIZE-TOKENS.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--answers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**asked)
    with tempfile.TemporaryDirectory() as folder:
        rounds = asyncio.run(_measure(settings, Path(folder)))
    for name in ("processor", "wall"):
        ratios = [with_it / without for without, with_it in (getattr(r, name) for r in rounds)]
        sys.stdout.write(
            f"{name} time without / with: {1 / statistics.median(ratios):.3f} "
            f"({1 / max(ratios):.3f} to {1 / min(ratios):.3f})\n"
        )
    each = statistics.median(r.processor[1] - r.processor[0] for r in rounds) / settings.answers
    sys.stdout.write(f"processor time of an answer's outcome: {1e3 * each:.2f} ms\n")
    report = {
        "environment": facts.facts(),
        "settings": asdict(settings),
        "rounds": [asdict(one) for one in rounds],
    }
    name = f"answers-{settings.size}-{settings.tokens}{'-stream' if settings.stream else ''}"
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


async def _measure(settings: Settings, folder: Path) -> list[Round]:
    size = SIZES[settings.size]
    model = build(size, folder / "model")
    head = str(random_head(size, folder / "head.safetensors"))
    section = {"value_head_path": head, "threshold": 1.0}  # it objects to nothing
    config = json.dumps({"abstain": {**section, "threshold": 0.0}, "vfd": section})
    steering = ["--worker-cls", WORKER, "--additional-config", config]
    async with contextlib.AsyncExitStack() as stack:
        servers = [
            stack.enter_context(serving(model, folder / name, [*_LIMITS, *steering, *more]))
            for name, more in (("hidden.log", ()), ("shown.log", _SHOWN))
        ]
        sessions = [await stack.enter_async_context(server.session()) for server in servers]
        asked = list(zip(servers, sessions, strict=True))
        for server, session in asked:
            await server.come_up(session)
        for _, session in asked * 2:  # what is done once is done before it counts
            told = await _ask(session, settings)
        assert told == settings.answers, "an answer carries no outcome"
        return [await _round(asked, settings, i) for i in range(settings.rounds)]


async def _round(
    asked: list[tuple[ApiServer, aiohttp.ClientSession]], settings: Settings, number: int
) -> Round:
    used, took = [0.0, 0.0], [0.0, 0.0]
    for which in (0, 1) if number % 2 else (1, 0):
        server, session = asked[which]
        before, began = server.processor_seconds(), time.perf_counter()
        await _ask(session, settings)
        took[which] = time.perf_counter() - began
        used[which] = server.processor_seconds() - before
    return Round((used[0], used[1]), (took[0], took[1]))


async def _ask(session: aiohttp.ClientSession, settings: Settings) -> int:
    """How many answers said what became of them."""
    draw = random.Random(5)  # noqa: S311  (test data)

    async def one(seed: int) -> bool:
        body = {
            "model": "tiny",
            "prompt": words(draw),
            "max_tokens": settings.tokens,
            "temperature": 1.0,
            "seed": seed,
            "stream": settings.stream,
        }
        async with session.post("/v1/completions", json=body) as reply:
            reply.raise_for_status()
            return b'"value_steer"' in await reply.read()

    return sum(await asyncio.gather(*map(one, range(settings.answers))))


if __name__ == "__main__":
    main()
