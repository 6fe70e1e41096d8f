"""From what a run found out to the rows that the registry keeps."""

from __future__ import annotations

import hashlib
import os
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from value_steer.registry.model import Cell, Environment, Package, Provenance, Upstream
from value_steer.registry.rows import Row

if TYPE_CHECKING:
    from pathlib import Path

    from compat.cell.pipeline import RunResult
    from compat.cell.verdict import Judgement


def rows(result: RunResult) -> tuple[Row, ...]:
    """One row per mode."""
    return tuple(_row(result, mode, judgement) for mode, judgement in result.judgements.items())


def provenance() -> Provenance:
    """Whether this runs on GitHub Actions, and where its log is."""
    environment = os.environ
    if environment.get("GITHUB_ACTIONS") != "true":
        return Provenance("local", None)
    server, repository = environment["GITHUB_SERVER_URL"], environment["GITHUB_REPOSITORY"]
    run = f"{environment['GITHUB_RUN_ID']}/attempts/{environment['GITHUB_RUN_ATTEMPT']}"
    return Provenance("ci", f"{server}/{repository}/actions/runs/{run}")


def _row(result: RunResult, mode: str, judgement: Judgement) -> Row:
    now = datetime.now(timezone.utc)
    return Row(
        recorded_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        cell=Cell(result.target.vllm, result.target.lane, judgement.runner, mode),
        verdict=judgement.verdict,
        cause=judgement.cause,
        reason=judgement.reason,
        depth=judgement.depth,
        upstream=_upstream(result),
        environment=_environment(result),
        package=_package(result),
        tests=judgement.counts,
        negative_control=judgement.negative_control,
        swallowed_errors=judgement.swallowed_errors,
        report_sha256=_sha256(result.target.out / "suite.xml"),
        seconds=round(result.seconds, 1),
        provenance=provenance(),
    )


def _upstream(result: RunResult) -> Upstream:
    prepared = result.prepared
    return Upstream(prepared.wheel, prepared.wheel_sha256) if prepared else Upstream(None, None)


def _environment(result: RunResult) -> Environment:
    prepared, facts = result.prepared, result.facts
    return Environment(
        isolation=result.target.isolation.kind,
        image_id=prepared.image_id if prepared else None,
        lock_sha256=prepared.lock_sha256 if prepared else None,
        python=facts.python if facts else None,
        torch=facts.torch if facts else None,
        device=facts.device if facts else None,
        driver=facts.driver if facts else None,
        setup_sha256=result.setup_sha256,
    )


def _package(result: RunResult) -> Package:
    product = result.product
    return Package(
        version=product.version,
        commit=product.commit,
        dirty=product.dirty,
        wheel_sha256=product.wheel_sha256,
        engine_digest=product.engine_digest,
        suite_digest=product.suite_digest,
        contracts_digest=product.contracts_digest,
    )


def _sha256(report: Path) -> str | None:
    return hashlib.sha256(report.read_bytes()).hexdigest() if report.exists() else None
