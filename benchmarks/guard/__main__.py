"""Measures the cost of judging answers in the engine, and by a second model that reads them.

``nox -s bench-guard`` runs three real servers: plain vLLM, vLLM with abstention, and a guard, which
is a small model that is given the text of plain vLLM's answer every so many tokens and says one
token about it. What the guard has not read is not shown. All live all the time and are asked in
turn, so that what disturbs the machine disturbs them alike. The processor time of the servers that
an answer needs decides, wall time stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.api_server import serving
from benchmarks.decode_models import SIZES, build, random_head, words
from benchmarks.guard.reading import Reader, answer
from benchmarks.guard.results import GUARDED, PLAIN, STEERED, WAYS, Round, lines
from compat.behaviour import facts
from compat.behaviour.engines import WORKER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import aiohttp

    from benchmarks.api_server import ApiServer

_LIMITS = ("--max-model-len", "1024", "--max-num-seqs", "16", "--num-gpu-blocks-override", "512")


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; of ``tokens`` per answer the guard reads ``every`` so many."""

    size: str
    tokens: int
    every: int
    answers: int
    rounds: int


@dataclass(frozen=True)
class Asked:
    """A server and a client of it."""

    server: ApiServer
    session: aiohttp.ClientSession


def main() -> None:
    """Measure, print the ratios, write ``guard-SIZE.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--every", type=int, default=200)
    parser.add_argument("--answers", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**asked)
    with tempfile.TemporaryDirectory() as folder:
        rounds = asyncio.run(_measure(settings, Path(folder)))
    for line in lines(rounds):
        sys.stdout.write(f"{line}\n")
    report = {
        "environment": facts.facts(),
        "settings": asdict(settings),
        "rounds": [{way: asdict(one) for way, one in each.items()} for each in rounds],
    }
    path = out / f"guard-{settings.size}.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


async def _measure(settings: Settings, folder: Path) -> list[dict[str, Round]]:
    size = SIZES[settings.size]
    model, guard = build(size, folder / "model"), build(SIZES["tiny"], folder / "guard")
    head = str(random_head(size, folder / "head.safetensors"))
    # Every token is judged, and none is objected to: the answers of all ways are as long.
    config = json.dumps({"abstain": {"value_head_path": head, "threshold": 0.0}})
    steering = ["--worker-cls", WORKER, "--additional-config", config]
    steering += ["--middleware", "value_steer.http.Steering"]
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for name, weights, more in (
            (PLAIN, model, []),
            (STEERED, model, steering),
            (GUARDED, guard, []),
        ):
            log = folder / f"{name}.log"
            server = stack.enter_context(serving(weights, log, [*_LIMITS, *more]))
            found[name] = Asked(server, await stack.enter_async_context(server.session()))
        for one in found.values():
            await one.server.come_up(one.session)
        await _round(found, settings, settings.rounds)  # what is done once is done beforehand
        return [await _round(found, settings, number) for number in range(settings.rounds)]


async def _round(servers: Mapping[str, Asked], settings: Settings, number: int) -> dict[str, Round]:
    at = number % len(WAYS)
    turned = WAYS[at:] + WAYS[:at]
    return {way: await _answers(servers, settings, way, number) for way in turned}


async def _answers(
    servers: Mapping[str, Asked], settings: Settings, way: str, number: int
) -> Round:
    writer = servers[STEERED if way == STEERED else PLAIN]
    guard = servers[GUARDED] if way == GUARDED else None
    reader = Reader(partial(_read, guard.session), settings.every) if guard else None
    needed = [writer.server, *([guard.server] if guard else [])]
    before, began = sum(one.processor_seconds() for one in needed), time.perf_counter()
    draw = random.Random(number)  # noqa: S311  (test data)
    prompts = [words(draw) for _ in range(settings.answers)]
    parts = (_parts(writer.session, p, settings.tokens, seed) for seed, p in enumerate(prompts))
    shown = await asyncio.gather(
        *(answer(p, q, reader) for p, q in zip(prompts, parts, strict=True))
    )
    wall = time.perf_counter() - began
    return Round(sum(one.processor_seconds() for one in needed) - before, wall, list(shown))


async def _read(guard: aiohttp.ClientSession, text: str) -> None:
    """Have the guard read a text, and say a token about it."""
    body = {"model": "tiny", "prompt": text, "max_tokens": 1, "temperature": 0.0, "logprobs": 2}
    async with guard.post("/v1/completions", json=body) as reply:
        reply.raise_for_status()
        await reply.read()


async def _parts(
    session: aiohttp.ClientSession, prompt: str, tokens: int, seed: int
) -> AsyncIterator[str]:
    """The parts of an answer's text as they come."""
    asked = {"model": "tiny", "prompt": prompt, "max_tokens": tokens, "temperature": 1.0}
    asked |= {"seed": seed, "ignore_eos": True, "stream": True}
    async with session.post("/v1/completions", json=asked) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            data = line.removeprefix(b"data: ").strip()
            if data and data != b"[DONE]":
                for choice in json.loads(data)["choices"]:
                    yield choice["text"]


if __name__ == "__main__":
    main()
