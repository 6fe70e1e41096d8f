"""What pages are made of, made for the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from packaging.version import Version

from compat.releases.candidates import Build, Candidate, Wheel
from compat.releases.policy import CellKind
from compat.releases.upstream import Upstream
from compat.report.states import Yardstick
from compat.report.view import Sources
from tests.compat.samples import HASH, PASSED, failed
from value_steer.registry.model import Cell, StaticCheck, Verdict
from value_steer.registry.rows import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from value_steer.registry.rows import Row

NOW = datetime(2020, 5, 8, 12, tzinfo=timezone.utc)
OTHER = "cd" * 32
KINDS = (
    CellKind("cpu", "default", "0.19.0"),
    CellKind("cpu-interpreted", "v2", "0.23.0"),
    CellKind("cuda-sm80", "default", "0.19.0"),
)
ALL_KINDS = (
    *KINDS,
    CellKind("cpu-async", "v1", "0.19.0"),
    CellKind("cpu-interpreted-async", "v2", "0.19.0"),
)


def candidate(vllm: str, *families: str, torch: str = "2.13.0") -> Candidate:
    """A release with a build for each family of devices."""
    builds = tuple(Build(f, f"vllm-{f}", (Wheel("a.whl", HASH),)) for f in families)
    return Candidate(Version(vllm), ">=3.10", torch, "13.0", builds)


def ran(vllm: str, lane: str = "cpu", runner: str | None = "v1", **changes: object) -> list[Row]:
    """A passed row of both modes, or what is changed of it."""
    base = failed() if changes.get("verdict") is Verdict.FAILED else PASSED
    return [
        replace(base, cell=Cell(vllm, lane, runner, mode), **changes)  # type: ignore[arg-type]
        for mode in ("abstain", "vfd")
    ]


def with_code(digest: str, rows: Iterable[Row]) -> list[Row]:
    """The same about other code."""
    return [replace(row, package=replace(row.package, engine_digest=digest)) for row in rows]


def checked(
    vllm: str, *broken: str, runner: str = "v2", modes: str = "abstain vfd"
) -> list[object]:
    """What the source of a release says of a runner."""
    return [
        StaticCheck(vllm, runner, mode, 60, broken, "a.whl", HASH, HASH) for mode in modes.split()
    ]


def sources(rows: Iterable[Row] = (), **changes: object) -> Sources:
    """Two releases, of which the newer has no CPU build, on the lanes of today."""
    static = changes.pop("static", ())
    of = Sources(
        registry=Registry(tuple(rows), (), tuple(static)),  # type: ignore[arg-type]
        history=(),
        candidates=(candidate("0.32.0", "cpu", "cuda"), candidate("0.33.0", "cuda")),
        supported=(Version("0.32.0"),),
        kinds=KINDS,
        upstream=(
            Upstream("0.32.0", "2020-05-01T07:08:09Z", "v2", ()),
            Upstream("0.33.0", None, "v2", ("sampler.draws: (a) → (a, b)",)),
        ),
        yardstick=Yardstick(HASH, NOW, 45),
    )
    return replace(of, **changes)  # type: ignore[arg-type]


def large() -> Sources:
    """Forty releases with twelve rows or more each, in every verdict that there is."""
    rows: list[Row] = []
    versions = [f"0.{minor}.{patch}" for minor in range(19, 39) for patch in (0, 1)]
    lanes = [("cpu", "v1"), ("cpu-interpreted", "v2"), ("cpu-async", "v1")]
    lanes += [("cpu-interpreted-async", "v2"), ("cuda-sm90", "v1"), ("cuda-sm90", "v2")]
    for number, vllm in enumerate(versions):
        for place, (lane, runner) in enumerate(lanes):
            kind = (number + place) % 5
            made = ran(vllm, lane, runner, verdict=Verdict.FAILED) if kind == 0 else None
            rows += made or with_code(HASH if kind < 3 else OTHER, ran(vllm, lane, runner))
    changes = tuple(
        f"engine_args.fields: fields +name_{i} +other_{i} -former_{i}" for i in range(9)
    )
    return sources(
        rows,
        candidates=tuple(candidate(vllm, "cpu", "cuda") for vllm in versions),
        kinds=ALL_KINDS,
        upstream=tuple(Upstream(v, "2020-05-01T00:00:00Z", "v2", changes) for v in versions),
    )
