"""The cost of steered decoding, relative to plain vLLM in the same interleaved run.

``nox -s bench`` runs it where vLLM is installed; one JSON and one plot come out. Every engine is
a process of its own, all live at once, and each repetition asks all of them in turn, so that what
disturbs the machine disturbs them alike. Processor time per token decides, which a busy machine
disturbs least; wall time and latencies stand beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import compat.behaviour
from benchmarks.decode_models import SIZES, build, random_head, thresholds
from benchmarks.decode_results import Case, Repetition, Result, plot, result
from compat.behaviour import facts
from compat.behaviour.engines import Engine
from compat.behaviour.messages import EngineSpec, Request
from compat.behaviour.tiny_models import FIRST_WORD, VOCABULARY

PROMPT = 32
CANDIDATES = 8

_THREADS = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""One thread: those of a pool spin while they wait, and spinning counts as processor time."""


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement."""

    size: str
    requests: list[int]
    rates: list[float]
    repetitions: int
    tokens: int
    modes: list[str]
    asynchronous: bool
    both_baselines: bool


def main() -> None:
    """Measure, print a table, write ``decode-SIZE.json`` and ``decode-SIZE.png``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 0.01, 0.05, 0.1, 0.5])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--asynchronous", action="store_true", help="with asynchronous scheduling")
    parser.add_argument(
        "--both-baselines",
        action="store_true",
        help="also against plain vLLM that schedules synchronously",
    )
    parser.add_argument("--modes", nargs="+", default=["abstain", "vfd"])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--no-plot", action="store_true", help="needs no matplotlib")
    asked = vars(parser.parse_args())
    out, no_plot = asked.pop("out"), asked.pop("no_plot")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**asked)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(settings, Path(folder))
    report = {
        "environment": facts.facts(),
        "settings": asdict(settings),
        "results": [asdict(one) for one in results],
    }
    name = f"decode-{settings.size}{'-async' if settings.asynchronous else ''}"
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not no_plot:
        plot(results, out / f"{name}.png")


def measure(settings: Settings, folder: Path) -> list[Result]:
    """Boot the engines and measure every case."""
    size = SIZES[settings.size]
    model = build(size, folder / "model")
    head = str(random_head(size, folder / "head.safetensors"))
    specs = {
        "plain": EngineSpec(),
        "synchronous": EngineSpec(options={"async_scheduling": False}),
        "abstain": EngineSpec(abstain={"value_head_path": head, "threshold": 0.0}),
        "vfd": EngineSpec(
            vfd={"value_head_path": head, "threshold": 1.0, "num_candidates": CANDIDATES}
        ),
    }
    limits = {"max_num_seqs": 64, "num_gpu_blocks_override": 1024, "max_model_len": 256}
    environment = {**_THREADS, **(asynchronous() if settings.asynchronous else {})}
    engines = {}
    for mode in (*_baselines(settings), *settings.modes):
        options = {**limits, **specs[mode].options}
        spec = replace(specs[mode], options=options, env=environment, new_interpreter=True)
        engines[mode] = Engine(spec, model, folder / f"{mode}.log")
    try:
        drawn = engines["plain"].generate(batch(16, 96))
        sequences = [p.prompt + a.tokens for p, a in zip(batch(16, 96), drawn, strict=True)]
        at = thresholds(model, Path(head), sequences, settings.rates)
        return [
            one
            for requests in settings.requests
            for one in _measured(engines, settings, at, requests)
        ]
    finally:
        for engine in engines.values():
            engine.close()


def _baselines(settings: Settings) -> tuple[str, ...]:
    return ("plain", "synchronous") if settings.both_baselines else ("plain",)


def _measured(
    engines: dict[str, Engine], settings: Settings, at: dict[float, float | str], requests: int
) -> list[Result]:
    cases = [
        Case(mode, rate, requests)
        for mode in settings.modes
        for rate in (settings.rates if mode == "vfd" else [0.0])
    ]
    asks = {
        case: batch(requests, settings.tokens, vfd_threshold=at[case.objections]) for case in cases
    }
    plain = batch(requests, settings.tokens)
    for case in cases:  # what is done once is done before it counts
        engines[case.mode].time(asks[case])
    baselines = _baselines(settings)
    for name in baselines:
        engines[name].time(plain)
    timings: dict[Case, list[Repetition]] = {case: [] for case in cases}
    shares = {}
    for _ in range(settings.repetitions):
        for case in cases:
            bases = {name: engines[name].time(plain) for name in baselines}
            before = engines[case.mode].counters()
            timing = engines[case.mode].time(asks[case])
            after = engines[case.mode].counters()
            shares[case] = (after["interventions"] - before["interventions"]) / timing.tokens
            timings[case].append(Repetition(timing, bases["plain"], bases.get("synchronous")))
    return [result(case, timings[case], shares[case]) for case in cases]


def asynchronous() -> dict[str, str]:
    """The variables that turn asynchronous scheduling on where the platform turns it off."""
    path = (str(Path(compat.behaviour.__path__[0]) / "asynchronous"), os.environ.get("PYTHONPATH"))
    return {"PYTHONPATH": os.pathsep.join(filter(None, path)), "CPU_ASYNC_DELAYS": "0"}


def batch(requests: int, tokens: int, **extra_args: object) -> list[Request]:
    """Seeded requests with prompts of one length."""
    draw = random.Random(5)  # noqa: S311  (test data)
    prompts = [[draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(PROMPT)] for _ in range(64)]
    base = {"temperature": 1.0, "max_tokens": tokens, "extra_args": extra_args}
    return [Request(prompts[i], {**base, "seed": i}) for i in range(requests)]


if __name__ == "__main__":
    main()
