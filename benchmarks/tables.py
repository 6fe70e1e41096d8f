"""Tables of the documentation from results of the decoding benchmark.

``python -m benchmarks.tables [FILE ...]`` prints them, and draws each file's plot into ``docs``;
without a file those in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from benchmarks import decode_results
from benchmarks.decode_results import Latency, Result
from value_steer.records.codec import decode, parse_json

RESULTS = Path(__file__).parent / "results"
_DOCS = Path(__file__).parent.parent / "docs"
_Kind = tuple[str, float]
"""A mode, and the share of draws that the head objects to."""
_ABSTAIN, _FILTER = ("abstain", 0.0), ("vfd", 0.0)
_KINDS = (_ABSTAIN, _FILTER, *(("vfd", rate) for rate in (0.05, 0.1, 0.5)))
_TARGETS: dict[str, dict[_Kind, str]] = {
    "tiny": dict(
        zip(_KINDS, ("0.95", "0.93", "0.82 at 16", "0.72 at 16", "0.45 at 16"), strict=True)
    ),
    "large": dict(
        zip(_KINDS, ("0.99", "0.98", "0.90 at 16", "0.85 at 16", "0.50 at 16"), strict=True)
    ),
}
_OF_LATENCIES = (1, 16)
_LATENCIES = ("first token", "between tokens")


def read(path: Path) -> tuple[str, list[Result]]:
    """The title of a file of results, and its results.

    Raises:
        SystemExit: It is not there, or of another shape.
    """
    try:
        body: Any = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise SystemExit(msg) from error
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
    counts = sorted({r.case.requests for r in results})
    targets = _TARGETS[title.split("*")[1]]
    heads = [_requests(count) for count in counts]
    lines = [_row(title, *heads, "target"), _row(*["---"] * (len(counts) + 2))]
    of = {kind: _by_count(results, kind) for kind in _kinds(results)}
    for kind, own in of.items():
        cells = [own.get(count) for count in counts]
        figures = [f"{r.ratio:.2f} ({r.low:.2f} to {r.high:.2f})" if r else "" for r in cells]
        lines.append(_row(_name(kind), *figures, targets.get(kind, "")))
    if {_ABSTAIN, _FILTER} <= of.keys():
        both = [of[_FILTER][n].ratio / of[_ABSTAIN][n].ratio for n in counts]
        figures = [f"{ratio:.2f}" for ratio in both]
        lines.append(_row("value filtering by abstention", *figures, "0.98"))
    return "\n".join(lines)


def latencies(path: Path) -> str:
    """Milliseconds to the first token and between tokens: median and 99th percentile."""
    title, results = read(path)
    counts = [n for n in _OF_LATENCIES if n in {r.case.requests for r in results}]
    heads = [f"{_requests(n)}: {what}" for n in counts for what in _LATENCIES]
    lines = [_row(title, *heads), _row(*["---"] * (len(heads) + 1))]
    of = {kind: _by_count(results, kind) for kind in _kinds(results)}
    first = next(iter(of.values()))
    lines.append(_row("plain vLLM", *_times([first[n].latency.plain for n in counts])))
    for kind, own in of.items():
        lines.append(_row(_name(kind), *_times([own[n].latency.own for n in counts])))
    return "\n".join(lines)


def _kinds(results: list[Result]) -> list[_Kind]:
    return list(dict.fromkeys((r.case.mode, r.case.objections) for r in results))


def _by_count(results: list[Result], kind: _Kind) -> dict[int, Result]:
    return {r.case.requests: r for r in results if (r.case.mode, r.case.objections) == kind}


def _times(latencies: list[Latency]) -> list[str]:
    return [
        f"{median:.1f}, {late:.1f}"
        for one in latencies
        for median, late in (
            (one.first_p50, one.first_p99),
            (one.between_p50, one.between_p99),
        )
    ]


def _name(kind: _Kind) -> str:
    mode, rate = kind
    if mode == "abstain":
        return "abstention"
    return f"{100 * rate:g} % objections" if rate else "value filtering, no objections"


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
