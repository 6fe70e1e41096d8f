"""The gate opens for fresh evidence and names whatever keeps it shut."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from compat.registry import store
from compat.release import gate, inventory
from compat.releases import matrix
from tests.compat.checkouts import CLEAN, MOMENT, ROOT, checkout, edit, evidence
from tests.compat.samples import VOID, failed
from value_steer import versions

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.registry.rows import Row

LATER = "2020-05-07T00:00:00Z"
LATER_FAILURE = failed(recorded_at=LATER)
OVERRIDE = """overrides:
  - vllm: "0.28.0"
    action: {action}
    reason: the machine with the GPU is away
    reviewed_by: a maintainer
    expires: {expires}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with fresh evidence for one release."""
    return checkout(tmp_path, evidence("0.28.0"))


def obstacles(root: Path) -> tuple[str, ...]:
    """What keeps the gate of a checkout shut."""
    return gate.examine(root, moment=MOMENT).obstacles


def test_fresh_evidence_opens_the_gate(root: Path) -> None:
    """A registry that backs the extra, and nothing drifted: nothing to say."""
    assert gate.examine(root, moment=MOMENT).is_open


@pytest.mark.parametrize(
    ("days", "added", "told"),
    [(0, "", ""), (0, "EDITED = True\n", "is stale"), (400, "", "is 400 days old")],
)
def test_a_checkout_is_held_against_its_own_code_and_the_clock(
    days: int, added: str, told: str, tmp_path: Path
) -> None:
    """Evidence about the code that lies there opens the gate, and is too old one day."""
    digest = versions.engine_digest(ROOT / "value_steer")
    day = datetime.now(timezone.utc) - timedelta(days=days)
    rows = evidence("0.28.0", digest=digest, day=f"{day:%Y-%m-%dT%H:%M:%SZ}")
    root = checkout(tmp_path, rows, whole=True)
    with (root / "value_steer" / "policy.py").open("a", encoding="utf-8") as file:
        file.write(added)

    found = gate.examine(root).obstacles
    assert len(found) == (2 if told else 0)
    assert all(told in obstacle for obstacle in found)


def test_another_registry_takes_the_place_of_the_checkouts_own(root: Path, tmp_path: Path) -> None:
    """The gate speaks of the evidence that it was given."""
    other = tmp_path / "other.json"
    other.write_text(store.render([*evidence("0.28.0"), LATER_FAILURE]), encoding="utf-8")

    found = gate.examine(root, other, moment=MOMENT).obstacles
    assert any("0.28.0" in text and "says failed (behaviour)" in text for text in found)


def test_one_stale_row_shuts_it_and_is_named(tmp_path: Path) -> None:
    """Of all releases inside the extra the one with evidence about other code is named."""
    rows = [*evidence("0.27.1", "0.28.0"), *evidence("0.29.0")[:1]]
    stale = replace(evidence("0.29.0")[1], package=replace(CLEAN, engine_digest="cd" * 32))
    root = checkout(tmp_path, [*rows, stale])

    (obstacle,) = obstacles(root)
    assert "vLLM 0.29.0 on cpu (v1, vfd)" in obstacle
    assert stale.record_id[:12] in obstacle
    assert "stale" in obstacle


def test_old_evidence_shuts_it(root: Path) -> None:
    """Both rows of the release are named with their age."""
    late = replace(MOMENT, now=MOMENT.now + timedelta(days=60))

    found = gate.examine(root, moment=late).obstacles
    assert len(found) == 2
    assert all("days old" in obstacle for obstacle in found)


def test_a_later_failure_shuts_it(root: Path) -> None:
    """The failed release is still inside the extra, which has drifted as well."""
    store.append(root / inventory.REGISTRY, [*evidence("0.29.0"), LATER_FAILURE])

    found = obstacles(root)
    assert any("0.28.0" in text and "says failed (behaviour)" in text for text in found)
    assert any("pyproject.toml has drifted" in text for text in found)


def test_an_extra_that_was_widened_by_hand_shuts_it(root: Path) -> None:
    """A release without evidence is named, and so is the file."""
    edit(root / "pyproject.toml", "vllm==0.28.0", "vllm>=0.28.0,<0.30")

    found = obstacles(root)
    assert any("vLLM 0.29.0 on cpu (abstain): no evidence" in text for text in found)
    assert any("pyproject.toml has drifted" in text for text in found)


def test_an_extra_that_no_release_fits_shuts_it(root: Path) -> None:
    """Nothing inside the extra lacks evidence, since nothing is inside."""
    edit(root / "pyproject.toml", "vllm==0.28.0", "vllm==0.1.0")

    assert obstacles(root) == (
        "the extra vllm admits no known release",
        "pyproject.toml has drifted; `python -m compat derive` writes it anew",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (inventory.REGISTRY, "{"),
        ("matrix/policy.yaml", "{}"),
        ("matrix/overrides.yaml", "overrides: 1"),
        ("matrix/candidates.json", "[]"),
        ("README.md", "no table"),
        ("pyproject.toml", "no extra"),
    ],
)
def test_a_malformed_file_shuts_it(name: str, text: str, root: Path) -> None:
    """It is an obstacle like any other, and named."""
    (root / name).write_text(text, encoding="utf-8")

    examined = gate.examine(root, moment=MOMENT)
    (obstacle,) = examined.obstacles
    assert name.rpartition("/")[2] in obstacle
    assert not examined.is_open
    assert examined.waived == ()


def test_an_expired_override_shuts_it(root: Path) -> None:
    """Even where it is not needed."""
    text = OVERRIDE.format(action="include", expires="2020-05-07")
    (root / "matrix" / "overrides.yaml").write_text(text, encoding="utf-8")

    (obstacle,) = obstacles(root)
    assert "override for vLLM 0.28.0 (include) expired on 2020-05-07" in obstacle


def test_an_override_for_an_unknown_release_shuts_it(root: Path) -> None:
    """A misspelt version would else decide nothing, silently."""
    text = OVERRIDE.format(action="exclude", expires="2020-06-01").replace("0.28.0", "0.28.9")
    (root / "matrix" / "overrides.yaml").write_text(text, encoding="utf-8")

    assert obstacles(root) == ("override for vLLM 0.28.9: no such release is known",)


def test_an_override_stands_in_for_old_evidence_and_is_told(root: Path) -> None:
    """It opens the gate until it expires, and says so."""
    late = replace(MOMENT, now=MOMENT.now + timedelta(days=60))
    text = OVERRIDE.format(action="include", expires="2020-07-30")
    (root / "matrix" / "overrides.yaml").write_text(text, encoding="utf-8")

    examined = gate.examine(root, moment=late)
    assert examined.is_open
    assert examined.waived == (
        "vLLM 0.28.0: include until 2020-07-30, by a maintainer: the machine with the GPU is away",
    )


def test_no_override_stands_in_for_a_failure(root: Path) -> None:
    """What is known not to work is not released."""
    store.append(root / inventory.REGISTRY, [LATER_FAILURE])
    text = OVERRIDE.format(action="include", expires="2020-06-01")
    (root / "matrix" / "overrides.yaml").write_text(text, encoding="utf-8")

    assert any("says failed" in text for text in obstacles(root))


def test_an_excluded_release_is_outside_of_the_extra(tmp_path: Path) -> None:
    """Whatever its evidence says."""
    root = checkout(tmp_path, evidence("0.27.1", "0.28.0"))
    text = OVERRIDE.format(action="exclude", expires="2020-06-01")
    (root / "matrix" / "overrides.yaml").write_text(text, encoding="utf-8")

    known = inventory.load(root)
    assert [str(version) for version in known.supported] == ["0.27.1"]


PLAN = (matrix.cell("0.28.0", "cpu", "default"), matrix.cell("0.29.0", "cpu", "default"))
LOST = "0.29.0-cpu-default: no row in the registry; its job was lost"
UNDECIDED = "0.28.0-cpu-default (abstain): no_evidence: the negative control did not fire"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], [LOST]),
        (evidence("0.29.0"), []),
        ([failed(cell=row.cell) for row in evidence("0.29.0")], []),
        ([*evidence("0.29.0"), replace(VOID, recorded_at=LATER)], [UNDECIDED]),
        ([*evidence("0.29.0"), VOID], [UNDECIDED]),
        ([VOID, *evidence("0.28.0", "0.29.0", day=LATER)], []),
    ],
)
def test_each_cell_of_a_plan_needs_a_verdict(more: list[Row], told: list[str]) -> None:
    """A failure is a verdict; silence is none, even where a run of before or beside it passed."""
    assert list(gate.unsettled(PLAN, [*evidence("0.28.0"), *more])) == told


def test_a_cell_of_a_plan_without_a_row_shuts_it(root: Path) -> None:
    """The matrix was asked about a release, and its answer did not arrive."""
    assert gate.examine(root, plan=PLAN, moment=MOMENT).obstacles == (LOST,)
