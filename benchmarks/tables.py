"""Tables of the documentation from results of the decoding benchmark.

``python -m benchmarks.tables [FILE ...]`` prints them, and draws each file's plot into ``docs``;
without a file those in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import decode_results
from benchmarks.decode_results import Result
from value_steer.records.codec import decode, parse_json

RESULTS = Path(__file__).parent / "results"
_DOCS = Path(__file__).parent.parent / "docs"
_TARGETS = {
    "tiny": ("0.95", "0.93", "0.82 at 16", "0.72 at 16", "0.45 at 16"),
    "large": ("0.99", "0.98", "0.90 at 16", "0.85 at 16", "0.50 at 16"),
}
_RATES = (0.0, 0.05, 0.1, 0.5)
_KINDS = (("abstain", 0.0), *(("vfd", rate) for rate in _RATES))
_OF_LATENCIES = (1, 16)


def read(path: Path) -> tuple[str, list[Result]]:
    """The title of a file of results, and its results."""
    body: Any = parse_json(path.read_bytes())
    way = "asynchronous" if body["settings"]["asynchronous"] else "synchronous"
    problems: list[str] = []
    found = [decode(Result, one, "results", problems) for one in body["results"]]
    if problems:
        msg = f"{path}: {problems[0]}"
        raise SystemExit(msg)
    return f"*{body['settings']['size']}*, {way}", [one for one in found if one is not None]


def ratios(path: Path) -> str:
    """Ratios to plain vLLM with their range, and the targets."""
    title, results = read(path)
    of = {(r.case.mode, r.case.objections, r.case.requests): r for r in results}
    counts = sorted({r.case.requests for r in results})
    heads = [_requests(count) for count in counts]
    lines = [_row(title, *heads, "target"), _row(*["---"] * (len(counts) + 2))]
    for (mode, rate), target in zip(_KINDS, _TARGETS[title.split("*")[1]], strict=True):
        own = [of[mode, rate, count] for count in counts if (mode, rate, count) in of]
        if own:
            figures = [f"{r.ratio:.2f} ({r.low:.2f} to {r.high:.2f})" for r in own]
            lines.append(_row(_name(mode, rate), *figures, target))
    both = [of["vfd", 0.0, n].ratio / of["abstain", 0.0, n].ratio for n in counts]
    lines.append(_row("value filtering by abstention", *(f"{one:.2f}" for one in both), "0.98"))
    return "\n".join(lines)


def latencies(path: Path) -> str:
    """Milliseconds to the first token and between tokens: median and 99th percentile."""
    title, results = read(path)
    heads = [f"{_requests(n)}: {what}" for n in _OF_LATENCIES for what in _LATENCIES]
    lines = [_row(title, *heads), _row(*["---"] * (len(heads) + 1))]
    first = [r for r in results if (r.case.mode, r.case.objections) == _KINDS[0]]
    lines.append(_row("plain vLLM", *_times(first, plain=True)))
    for mode, rate in _KINDS:
        own = [r for r in results if (r.case.mode, r.case.objections) == (mode, rate)]
        if own:
            lines.append(_row(_name(mode, rate), *_times(own, plain=False)))
    return "\n".join(lines)


_LATENCIES = ("first token", "between tokens")


def _times(results: list[Result], *, plain: bool) -> list[str]:
    here = [r.latency for r in results if r.case.requests in _OF_LATENCIES]
    found = [one.plain if plain else one.own for one in here]
    return [
        f"{median:.1f}, {late:.1f}"
        for one in found
        for median, late in (
            (one.first_p50, one.first_p99),
            (one.between_p50, one.between_p99),
        )
    ]


def _name(mode: str, rate: float) -> str:
    if mode == "abstain":
        return "abstention"
    return f"{rate:.0%} objections".replace("%", " %") if rate else "value filtering, no objections"


def _requests(count: int) -> str:
    return f"{count} request{'s' if count > 1 else ''}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the tables and draw the plots."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results of `nox -s bench`")
    for path in parser.parse_args().files or sorted(RESULTS.glob("*.json")):
        print(ratios(path), latencies(path), sep="\n\n", end="\n\n")
        decode_results.plot(read(path)[1], _DOCS / f"{path.stem}.png")


if __name__ == "__main__":
    main()
