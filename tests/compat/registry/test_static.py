"""What the sources of releases say, in the registry: read whole, replaced whole, never a pass."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from compat import checkout, cli
from compat.cell.services import Services
from compat.errors import ExitCode
from compat.registry import static, store
from compat.release import inventory, readme
from compat.releases import upstream
from compat.releases.candidates import load_candidates
from tests.compat.checkouts import ROOT
from tests.compat.samples import CELL, HASH, PASSED, passed
from tests.contracts.release_server import Server
from value_steer.contracts.history.snapshot import ContractState, Snapshot
from value_steer.contracts.report import Status
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.runner_default import Rule, RunnerDefault
from value_steer.contracts.sources import index
from value_steer.contracts.sources.index import IndexSettings
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import RegistryError
from value_steer.registry.model import StaticCheck
from value_steer.registry.rows import read_registry

if TYPE_CHECKING:
    from pathlib import Path

CHECK = StaticCheck("0.28.0", "v1", "abstain", 60, (), "vllm-0.28.0-py3-none-any.whl", HASH, HASH)
CANDIDATES = [c for c in load_candidates() if str(c.version) in ("0.28.0", "0.33.0")]
WHEELS = [Server(b"", ranges=True).wheel(v, sha256=HASH) for v in ("0.28.0", "0.33.0")]
GONE = next(s for s in SURFACES if s.modes == {Mode.VFD} and s.runners == {Runner.V2})


def snap(version: str, *missing: str) -> Snapshot:
    """A release that has all but these."""
    states = (
        ContractState(s.id, Status.MISSING_SYMBOL if s.id in missing else Status.OK, "", None)
        for s in SURFACES
    )
    return Snapshot(version, RunnerDefault(Rule.V2), tuple(states))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with a row, and an index with two releases, one of which lacks something."""
    monkeypatch.setattr(index, "pip_settings", IndexSettings)
    monkeypatch.setattr(index, "project_wheels", lambda *_: tuple(WHEELS))
    monkeypatch.setattr(static, "sweep", lambda *_: (snap("0.28.0"), snap("0.33.0", GONE.id)))
    path = tmp_path / "validated_versions.json"
    path.write_text(store.render([PASSED], (), [CHECK]), encoding="utf-8")
    return path


def survey(registry: Path) -> int:
    """The command."""
    services = Services(candidates=lambda: tuple(CANDIDATES))
    place = str(registry.with_name("upstream.json"))
    return cli.main(["--registry", str(registry), "static", "--upstream", place], services)


def test_the_registry_of_the_checkout_speaks_of_these_contracts() -> None:
    """After a change of the contracts or the candidates, `nox -s static` is run."""
    known = inventory.load(ROOT)

    assert {check.contracts_digest for check in known.registry.static} == {
        checkout.contracts_digest()
    }
    assert {(c.vllm, c.runner, c.mode) for c in known.registry.static} == {
        (str(candidate.version), runner.value, mode.value)
        for candidate in known.candidates
        for runner in Runner
        for mode in Mode
    }


@pytest.mark.skipif(
    not os.environ.get("VALUE_STEER_TEST_INDEX"),
    reason="reads 21 releases from the package index; set VALUE_STEER_TEST_INDEX=1",
)
def test_what_is_recorded_is_what_the_sources_say() -> None:
    """Anyone can read them again."""
    known = inventory.load(ROOT)

    found = static.survey(known.candidates)

    assert set(found.checks) == set(known.registry.static)
    assert found.upstream == upstream.load()


def test_a_survey_replaces_the_one_before_and_keeps_the_evidence(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One record per release, runner and mode; what is broken is named."""
    assert survey(registry) == ExitCode.FAILED

    found = read_registry(registry)
    assert found.rows == (PASSED,)
    assert len(found.static) == 2 * len(Runner) * len(Mode)
    assert CHECK not in found.static
    (broken,) = (check for check in found.static if not check.holds)
    assert (broken.vllm, broken.runner, broken.mode) == ("0.33.0", "v2", "vfd")
    assert broken.broken == (GONE.id,)
    assert 0 < len(broken.broken) < broken.checked
    assert (broken.wheel, broken.wheel_sha256) == (WHEELS[1].filename, HASH)
    told = capsys.readouterr().out.replace("\n", " ")
    assert f"vLLM 0.33.0 (v2, vfd): does not have what {GONE.id} needs" in told


def test_a_survey_says_what_each_release_changed(registry: Path) -> None:
    """And when it appeared, if the index says."""
    survey(registry)

    older, newer = upstream.load(registry.with_name("upstream.json"))
    assert (older.vllm, older.changes) == ("0.28.0", ())
    assert (newer.vllm, newer.uploaded, newer.runner_default) == ("0.33.0", None, "v2")
    (change,) = newer.changes
    assert change.startswith(f"{GONE.id}: ok → ")


def test_the_checkout_knows_what_every_candidate_changed() -> None:
    """After `nox -s matrix` has found a release, `nox -s static` is run."""
    known = inventory.load(ROOT)

    assert [of.vllm for of in upstream.load()] == [str(c.version) for c in known.candidates]


def test_the_time_of_an_upload_is_utc() -> None:
    """Whatever zone the index speaks of."""
    zone = timezone(timedelta(hours=2))
    wheel = replace(WHEELS[0], uploaded=datetime(2026, 8, 26, 12, 7, 25, 91628, tzinfo=zone))

    assert static.upstream([wheel], [snap("0.28.0")])[0].uploaded == "2026-08-26T10:07:25Z"


def test_surveying_again_changes_no_byte(registry: Path) -> None:
    """It follows from the wheels and the contracts alone, and later evidence keeps it."""
    survey(registry)
    before = registry.read_bytes()
    survey(registry)
    assert registry.read_bytes() == before

    checks = read_registry(registry).static
    store.append(registry, [passed(recorded_at="2021-01-01T00:00:00Z")])
    assert read_registry(registry).static == checks


def test_a_release_that_the_index_lacks_changes_nothing(
    registry: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a survey is none."""
    monkeypatch.setattr(index, "project_wheels", lambda *_: tuple(WHEELS[:1]))
    before = registry.read_bytes()

    assert survey(registry) == ExitCode.INFRA
    assert "the index has no wheel of vLLM 0.33.0" in capsys.readouterr().out.replace("\n", " ")
    assert registry.read_bytes() == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (replace(CHECK, checked=0), "must be positive"),
        (replace(CHECK, checked=1, broken=("a", "b")), "not below broken"),
        (replace(CHECK, vllm="0.28"), None),
        (replace(CHECK, vllm="v0.28.0"), "normalised"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused(
    wrong: StaticCheck, told: str | None, tmp_path: Path
) -> None:
    """With its place."""
    path = tmp_path / "registry.json"
    path.write_text(store.render([], (), [wrong]), encoding="utf-8")

    if told is None:
        assert read_registry(path).static == (wrong,)
        return
    with pytest.raises(RegistryError, match=rf"static\[0\].*{told}"):
        read_registry(path)


def test_the_table_tells_sources_from_runs(registry: Path) -> None:
    """For each runner whether the contracts hold, and why there is no run where there is none."""
    survey(registry)
    cell = replace(CELL, runner="v1")
    store.append(registry, [passed(cell=cell)])
    known = replace(inventory.load(ROOT, registry), candidates=tuple(CANDIDATES))

    lines = [line.split(" | ")[:6] for line in readme.details(known).splitlines()[2:]]

    assert lines == [
        ["| 0.33.0", "v1", "hold", "", "no CPU build", "no CPU build"],
        ["| 0.33.0", "v2", "1 broken (vfd)", "", "no CPU build", "no CPU build"],
        ["| 0.28.0", "v1", "hold", "cpu", "passed, equal, 3/3", "not tested"],
        ["| 0.28.0", "v2", "hold", "", "not tested", "not tested"],
    ]
