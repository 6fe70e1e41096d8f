"""All that a registry knows about one release of vLLM, in one screen."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from value_steer import versions
from value_steer.registry.model import Verdict
from value_steer.registry.rows import instant
from value_steer.versions import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from value_steer.registry.model import Imported, StaticCheck
    from value_steer.registry.rows import Registry, Row

_HEAD = ("lane", "runner", "mode", "verdict", "depth", "tests", "control", "age", "standing")
_ELSEWHERE = "; older rows are in the repository of value-steer, in evidence/"
_WORDS = {True: "passed", False: "failed", None: "not stated"}


def lines(
    vllm: str,
    registry: Registry,
    digest: str,
    now: datetime | None = None,
    *,
    is_whole: bool = True,
) -> Iterator[str]:
    """The story of a release.

    Args:
        vllm: Public version, normalised.
        registry: What is known, the rows of the history among it where there is one.
        digest: :func:`value_steer.versions.engine_digest` of the code that asks.
        now: In UTC; what ages are counted from.
        is_whole: Whether the history is there; it is not in an installed package.
    """
    rows = [row for row in registry.rows if Version(row.cell.vllm) == Version(vllm)]
    held = list(dict.fromkeys(versions.current(rows).values()))
    yield f"vLLM {vllm}: {_summary(held, digest)}"
    if held:
        yield from _table(held, digest, now or datetime.now(timezone.utc))
    yield from _static([c for c in registry.static if Version(c.vllm) == Version(vllm)])
    for group in _by_run(held):
        yield from _evidence(group)
    if rows:
        yield f"history: {_history(rows)}" + ("" if is_whole else _ELSEWHERE)
    for claim in registry.imported:
        if Version(claim.vllm) == Version(vllm):
            yield _claim(claim)
    yield f"reproduce: {_command(vllm, held)}"


def _summary(held: Sequence[Row], digest: str) -> str:
    good = [row for row in held if row.verdict is Verdict.PASSED]
    bad = [row for row in held if row.verdict is not Verdict.PASSED]
    parts = []
    for what, rows in (
        ("validated", [row for row in good if row.package.engine_digest == digest]),
        ("stale", [row for row in good if row.package.engine_digest != digest]),
        ("known not to work", bad),
    ):
        if rows:
            cells = dict.fromkeys(
                f"{r.cell.lane}/{r.cell.runner or 'any'} {r.cell.mode}" for r in rows
            )
            parts.append(f"{what} on {', '.join(cells)}")
    return "; ".join(parts) or "never tested"


def _table(held: Sequence[Row], digest: str, now: datetime) -> Iterator[str]:
    table = [_HEAD, *(_cells(row, digest, now) for row in held)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        yield "  " + "  ".join(map(str.ljust, cells, widths)).rstrip()


def _cells(row: Row, digest: str, now: datetime) -> tuple[str, ...]:
    cause = f" ({row.cause.value})" if row.cause else ""
    return (
        row.cell.lane,
        row.cell.runner or "any",
        row.cell.mode,
        row.verdict.value + cause,
        row.depth.value,
        f"{row.tests.passed}/{row.tests.expected}",
        row.negative_control.value.replace("_", " "),
        f"{(now - instant(row.recorded_at)).days} d",
        _standing(row, digest).value.replace("_", " "),
    )


def _standing(row: Row, digest: str) -> Standing:
    if row.verdict is not Verdict.PASSED:
        return Standing.KNOWN_BAD
    return Standing.VALIDATED if row.package.engine_digest == digest else Standing.STALE


def _static(checks: Sequence[StaticCheck]) -> Iterator[str]:
    """The contracts as read in the source of the release; it was not run for that."""
    for check in checks:
        found = f"{len(check.broken)} of {check.checked} do not hold ({', '.join(check.broken)})"
        verdict = f"all {check.checked} hold" if check.holds else found
        yield f"contracts in its source, {check.runner} {check.mode}: {verdict}"


def _by_run(held: Sequence[Row]) -> list[list[Row]]:
    """The rows of one run, which differ in mode alone, together."""
    runs: dict[object, list[Row]] = {}
    for row in held:
        key = (row.cell.lane, row.recorded_at, row.report_sha256, row.environment)
        runs.setdefault(key, []).append(row)
    return list(runs.values())


def _evidence(group: Sequence[Row]) -> Iterator[str]:
    row = group[0]
    modes = ", ".join(row.cell.mode for row in group)
    records = ", ".join(row.record_id[:12] for row in group)
    yield f"evidence for {row.cell.lane}/{row.cell.runner or 'any'} ({modes}): {records}"
    package, environment = row.package, row.environment
    commit = f" at {package.commit[:12]}" if package.commit else ""
    changed = ", with changes" if package.dirty else ""
    by = row.provenance.run_url or row.provenance.kind
    yield f"  {row.recorded_at} by {by}, value-steer {package.version}{commit}{changed}"
    wheel = row.upstream.wheel or "no wheel installed"
    yield f"  {wheel}" + (f" (sha256 {row.upstream.sha256[:12]})" if row.upstream.sha256 else "")
    facts = [
        environment.isolation,
        environment.python and f"Python {environment.python}",
        environment.torch and f"torch {environment.torch}",
        environment.device,
        environment.driver and f"driver {environment.driver}",
        f"{row.seconds:.0f} s",
    ]
    yield f"  {', '.join(filter(None, facts))}"
    for reason in dict.fromkeys(row.reason for row in group if row.reason):
        yield f"  {reason}"


def _history(rows: Sequence[Row]) -> str:
    counts = [(verdict, sum(row.verdict is verdict for row in rows)) for verdict in Verdict]
    told = ", ".join(f"{count} {verdict.value}" for verdict, count in counts if count)
    days = sorted(row.recorded_at[:10] for row in rows)
    return f"{len(rows)} rows from {days[0]} to {days[-1]}: {told}"


def _claim(claim: Imported) -> str:
    said = f"static {_WORDS[claim.static]}, behavioural {_WORDS[claim.behavioural]}"
    source = (
        f"imported on {claim.imported_at[:10]} from a file with sha256 {claim.source_sha256[:12]}"
    )
    return f"claimed elsewhere: {claim.result} ({said}); {source}; it counts for nothing here"


def _command(vllm: str, held: Sequence[Row]) -> str:
    command = f"nox -s compat -- {vllm}"
    commands = dict.fromkeys(
        f"{command} --lane {row.cell.lane} --runner {row.cell.runner or 'default'}" for row in held
    )
    return "; ".join(commands or [command]) + " (in a checkout)"
