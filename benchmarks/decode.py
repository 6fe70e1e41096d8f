"""What steered decoding costs, relative to plain vLLM in the same interleaved run.

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
import statistics
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import compat.behaviour
from benchmarks.decode_models import SIZES, build, random_head, thresholds
from compat.behaviour import facts
from compat.behaviour.engines import Engine
from compat.behaviour.messages import EngineSpec, Request, Timing
from compat.behaviour.tiny_models import FIRST_WORD, VOCABULARY

PROMPT = 32
CANDIDATES = 8

_THREADS = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""One thread: those of a pool spin while they wait, and spinning counts as processor time."""


@dataclass(frozen=True)
class Case:
    """One line of the result.

    Attributes:
        mode: ``abstain`` or ``vfd``.
        objections: Share of draws that the head is set to object to.
        requests: How many run at a time.
    """

    mode: str
    objections: float
    requests: int


@dataclass(frozen=True)
class Result:
    """What a case came to.

    Attributes:
        case: The case.
        ratio: Median over the repetitions of its tokens per second of processor time by plain
            vLLM's.
        low: Smallest of them.
        high: Largest of them.
        wall: The same median of wall time.
        interventions: Share of tokens given out in place of the one drawn.
        latency: Milliseconds, its own and plain vLLM's.
    """

    case: Case
    ratio: float
    low: float
    high: float
    wall: float
    interventions: float
    latency: dict[str, Latency]


@dataclass(frozen=True)
class Latency:
    """Milliseconds over all requests and repetitions.

    Attributes:
        first_p50: To the first token.
        first_p99: To the first token.
        between_p50: Between two tokens.
        between_p99: Between two tokens.
    """

    first_p50: float
    first_p99: float
    between_p50: float
    between_p99: float


@dataclass(frozen=True)
class Settings:
    """What to measure."""

    size: str
    requests: list[int]
    rates: list[float]
    repetitions: int
    tokens: int
    modes: list[str]
    asynchronous: bool


def main() -> None:
    """Measure, print a table, write ``decode-SIZE.json`` and ``decode-SIZE.png``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--requests", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rates", type=float, nargs="+", default=[0, 0.01, 0.05, 0.1, 0.5])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--asynchronous", action="store_true", help="with asynchronous scheduling")
    parser.add_argument("--modes", nargs="+", default=["abstain", "vfd"])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    out.mkdir(parents=True, exist_ok=True)
    settings = Settings(**asked)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(settings, Path(folder))
    report = {
        "environment": facts.facts(),
        "settings": asdict(settings),
        "results": [asdict(result) for result in results],
    }
    name = f"decode-{settings.size}{'-async' if settings.asynchronous else ''}"
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    plot(results, out / f"{name}.png")


def measure(settings: Settings, folder: Path) -> list[Result]:
    """Boot the engines and measure every case."""
    size = SIZES[settings.size]
    model = build(size, folder / "model")
    head = str(random_head(size, folder / "head.safetensors"))
    specs = {
        "plain": EngineSpec(),
        "abstain": EngineSpec(abstain={"value_head_path": head, "threshold": 0.0}),
        "vfd": EngineSpec(
            vfd={"value_head_path": head, "threshold": 1.0, "num_candidates": CANDIDATES}
        ),
    }
    options = {"max_num_seqs": 64, "num_gpu_blocks_override": 1024, "max_model_len": 256}
    environment = {**_THREADS, **(asynchronous() if settings.asynchronous else {})}
    engines = {}
    for mode in ("plain", *settings.modes):
        spec = replace(specs[mode], options=options, env=environment, new_interpreter=True)
        engines[mode] = Engine(spec, model, folder / f"{mode}.log")
    try:
        drawn = engines["plain"].generate(batch(16, 96))
        sequences = [p.prompt + a.tokens for p, a in zip(batch(16, 96), drawn, strict=True)]
        at = thresholds(model, Path(head), sequences, settings.rates)
        return [
            result
            for requests in settings.requests
            for result in _measured(engines, settings, at, requests)
        ]
    finally:
        for engine in engines.values():
            engine.close()


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
    engines["plain"].time(plain)
    timings: dict[Case, list[tuple[Timing, Timing]]] = {case: [] for case in cases}
    shares = {}
    for _ in range(settings.repetitions):
        for case in cases:
            base = engines["plain"].time(plain)
            before = engines[case.mode].counters()
            timing = engines[case.mode].time(asks[case])
            after = engines[case.mode].counters()
            shares[case] = (after["interventions"] - before["interventions"]) / timing.tokens
            timings[case].append((timing, base))
    return [_result(case, timings[case], shares[case]) for case in cases]


def _result(case: Case, timings: list[tuple[Timing, Timing]], interventions: float) -> Result:
    ratios = sorted(
        (own.tokens / own.processor_seconds) / (base.tokens / base.processor_seconds)
        for own, base in timings
    )
    wall = statistics.median(
        (own.tokens / own.seconds) / (base.tokens / base.seconds) for own, base in timings
    )
    latency = {
        "own": _latency([own for own, _ in timings]),
        "plain": _latency([base for _, base in timings]),
    }
    middle = statistics.median(ratios)
    result = Result(case, middle, ratios[0], ratios[-1], wall, interventions, latency)
    print(
        f"{case.mode:8} {case.requests:3} requests, {case.objections:4.0%} objections: "
        f"{middle:.3f} of plain vLLM ({ratios[0]:.3f} to {ratios[-1]:.3f}), wall {wall:.3f}, "
        f"{interventions:.1%} replaced",
        flush=True,
    )
    return result


def _latency(timings: list[Timing]) -> Latency:
    first = [1000 * seconds for timing in timings for seconds in timing.first]
    between = [1000 * seconds for timing in timings for seconds in timing.between]
    return Latency(*(round(_percentile(v, p), 2) for v in (first, between) for p in (50, 99)))


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


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


def plot(results: list[Result], path: Path) -> None:
    """Ratio to plain vLLM over the number of requests, a line per objection rate."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  (after the measurement)

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    lines = dict.fromkeys((r.case.mode, r.case.objections) for r in results)
    for mode, rate in lines:
        own = [r for r in results if (r.case.mode, r.case.objections) == (mode, rate)]
        ratios = [r.ratio for r in own]
        spread = [[r.ratio - r.low for r in own], [r.high - r.ratio for r in own]]
        label = "abstention" if mode == "abstain" else f"VFD, {rate:.0%} objections"
        axes.errorbar(
            [r.case.requests for r in own], ratios, spread, marker="o", capsize=3, label=label
        )
    axes.set(
        xscale="log",
        xlabel="requests at a time",
        ylabel="tokens per processor second, relative to plain vLLM",
    )
    axes.set_xticks([r.case.requests for r in results], [str(r.case.requests) for r in results])
    axes.set_ylim(0, 1.1)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
