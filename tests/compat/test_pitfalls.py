"""What has gone wrong in compatibility systems before, each as a test that it cannot here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compat.cell.junit import LARGEST_BYTES, CaseOutcome, SuiteReport, read_report
from compat.errors import RecordError, ReportError, UsageError
from compat.registry import fragments, recheck, store
from compat.release import derive, gaps, gate, inventory
from compat.releases import matrix
from compat.releases.candidates import select_release
from compat.releases.policy import CellKind
from tests.compat.cell.test_junit import CASE, report
from tests.compat.cell.test_verdict import ALL_PASSED, CONTROL, judged
from tests.compat.cell.test_verdict import report as suite_report
from tests.compat.checkouts import CLEAN, MOMENT, ROOT, checkout, evidence
from tests.compat.registry.test_recheck import NOW, pages, wheel
from tests.compat.releases.test_matrix import candidate
from tests.compat.samples import CELL, HASH, PASSED, VOID, failed, passed
from value_steer import versions
from value_steer.registry.model import Depth, Verdict
from value_steer.versions import Standing

if TYPE_CHECKING:
    from pathlib import Path

LATER = "2020-05-07T00:00:00Z"


def test_all_skipped_is_not_green() -> None:
    """Pytest exits with 0 when every test is skipped."""
    skipped = judged(suite_report(dict.fromkeys(ALL_PASSED, CaseOutcome.SKIPPED)))

    assert skipped.verdict is Verdict.NO_EVIDENCE
    assert "4 tests were skipped" in str(skipped.reason)


def test_an_empty_selection_is_not_green() -> None:
    """A filter that leaves nothing is an error in the plan and no evidence in a run."""
    with pytest.raises(UsageError, match="0 cells"):
        matrix.planned([], [])
    assert judged(expected=()).verdict is Verdict.NO_EVIDENCE
    assert judged(SuiteReport({}, {})).verdict is Verdict.NO_EVIDENCE


def test_a_missing_leg_is_not_green(tmp_path: Path) -> None:
    """A job of which nothing came back is in the registry, with its version, and shuts the gate."""
    jobs = (matrix.cell("0.28.0", "cpu", "default"), matrix.cell("0.29.0", "cpu", "default"))
    root = checkout(tmp_path, evidence("0.28.0"))
    fragments.write(tmp_path / "jobs" / "a" / "fragment.json", evidence("0.28.0", day=LATER))

    merged = fragments.merge(root / inventory.REGISTRY, tmp_path / "jobs", jobs)
    assert {(r.cell.vllm, r.verdict) for r in merged.lost} == {("0.29.0", Verdict.NO_EVIDENCE)}
    shut = gate.examine(root, plan=jobs, moment=MOMENT).obstacles
    assert any(text.startswith("0.29.0-cpu-default (vfd): no_evidence") for text in shut)


def test_a_row_is_not_lost_to_a_writer_that_read_before_it(tmp_path: Path) -> None:
    """What is written is merged with what is there by then, and a failure erases no pass."""
    path = tmp_path / "registry.json"
    path.write_text(store.render([]), encoding="utf-8")
    seen_by_both = store.load(path)
    store.append(path, (*seen_by_both, PASSED))
    store.append(path, (*seen_by_both, failed(recorded_at=LATER)))

    assert set(store.load_all(path)) == {PASSED, failed(recorded_at=LATER)}


def test_a_yank_after_a_pass_withdraws_it(tmp_path: Path) -> None:
    """And the release leaves the extra, although nobody ran it again, or somebody did."""
    root = checkout(tmp_path, evidence("0.27.1", "0.28.0"))
    rows = store.load(root / inventory.REGISTRY)
    found = recheck.judge(rows, pages(wheel(yanked=True)), NOW)
    again = evidence("0.28.0", day="2020-06-02T00:00:00Z")
    of_one = [row for row in found.withdrawn if row.cell.vllm == "0.28.0"]
    store.append(root / inventory.REGISTRY, [*of_one, *again])

    assert inventory.load(root).supported == (Version("0.27.1"),)


def test_post_and_four_part_versions_are_releases_of_their_own(tmp_path: Path) -> None:
    """Versions are compared whole: no base version, no split at dots, no text order."""
    names = ("0.9.2", "0.28.0rc1", "0.28.0", "0.28.0.post1", "0.28.0.1", "0.100.0")
    known = tuple(map(Version, names))
    spec = derive.specifier((Version("0.28.0"), Version("0.28.0.1")), known)

    assert sorted(known) == list(known)
    assert derive.inside(spec, known) == (Version("0.28.0"), Version("0.28.0.1"))
    assert (
        str(select_release("0.28", tuple(candidate(v, "cpu") for v in names)).version) == "0.28.0.1"
    )
    for other in ("0.28.0rc1", "0.28.0.post1", "0.28.0.1"):
        cell = replace(CELL, vllm=other)
        assert versions.assess(cell, [PASSED], HASH).standing is Standing.UNKNOWN
    path = tmp_path / "registry.json"
    path.write_text(store.render(evidence(*reversed(names))), encoding="utf-8")
    assert list(dict.fromkeys(row.cell.vllm for row in store.load(path))) == list(names)


def test_a_clock_that_runs_ahead_wins_nothing(tmp_path: Path) -> None:
    """A row from the future is refused; one that got in counts for nothing and is not for ever."""
    future = evidence("0.28.0", day="2999-01-01T00:00:00Z")
    path = tmp_path / "registry.json"
    path.write_text(store.render([]), encoding="utf-8")
    with pytest.raises(RecordError, match="in the future"):
        store.append(path, future)

    root = checkout(tmp_path, future)
    assert any("from the future" in text for text in gate.examine(root, moment=MOMENT).obstacles)


def test_green_goes_stale(tmp_path: Path) -> None:
    """With other code, with time, and not renewed by a run that found nothing out."""
    root = checkout(tmp_path, evidence("0.28.0"))
    later = replace(MOMENT, engine_digest="cd" * 32, now=MOMENT.now.replace(year=2021))
    store.append(root / inventory.REGISTRY, [replace(VOID, recorded_at="2020-12-31T00:00:00Z")])

    found = gate.examine(root, moment=later).obstacles
    assert any("is stale" in text and "abstain" in text for text in found)
    assert any("days old" in text and "abstain" in text for text in found)


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        (report(CASE.replace("/>", '><failure message="no"/></testcase>') + CASE), "twice"),
        (report(CASE, tests=2), "counts 2 tests and holds 1"),
        (f'<!DOCTYPE t SYSTEM "file:///etc/passwd">{report()}', "document type"),
    ],
)
def test_a_forged_report_is_no_evidence(forged: str, told: str, tmp_path: Path) -> None:
    """A second case that hides a failure, cases that are not there, entities."""
    path = tmp_path / "suite.xml"
    path.write_text(forged, encoding="utf-8")
    with pytest.raises(ReportError, match=told) as refusal:
        read_report(path)

    assert judged(refusal.value).verdict is Verdict.NO_EVIDENCE


def test_a_forged_fragment_speaks_for_no_other_cell(tmp_path: Path) -> None:
    """Not even a well-formed pass, if its job was about something else; nor one about no test."""
    fragments.write(tmp_path / "fragment.json", evidence("0.29.0"))
    gathered = fragments.gather(tmp_path, [matrix.cell("0.28.0", "cpu", "default")])
    assert gathered.rows == ()

    nothing = replace(PASSED.tests, expected=0, executed=0, passed=0)
    with pytest.raises(RecordError, match="no test"):
        fragments.write(tmp_path / "fragment.json", [passed(tests=nothing)])


def test_an_oversized_report_is_no_evidence(tmp_path: Path) -> None:
    """It is not even parsed."""
    path = tmp_path / "suite.xml"
    path.write_text(report() + " " * LARGEST_BYTES, encoding="utf-8")
    with pytest.raises(ReportError, match="larger than 16 MiB") as refusal:
        read_report(path)

    assert judged(refusal.value, CONTROL).verdict is Verdict.NO_EVIDENCE


@pytest.mark.parametrize("depth", [Depth.INSTALLS, Depth.IMPORTS, Depth.BOOTS])
def test_an_install_or_an_import_is_no_validation(depth: Depth) -> None:
    """A pass that did not see the features fire cannot be written."""
    with pytest.raises(RecordError, match=f"passed with depth {depth.value}"):
        store.refuse_unrecordable([passed(depth=depth)])


def test_a_range_does_not_claim_an_untested_middle(tmp_path: Path) -> None:
    """Each release between two good ones that has no evidence of its own is a hole."""
    root = checkout(tmp_path, evidence("0.25.0", "0.27.0"))

    assert str(derive.stated_extra(root).specifier) == "!=0.25.1,!=0.26.0,<=0.27.0,>=0.25.0"


def test_a_matrix_too_large_for_actions_is_an_error_at_once() -> None:
    """Actions would refuse it as a whole, and what depends on it would look neutral."""
    kinds = [CellKind(f"cpu-{i}", "default", "0.19.0") for i in range(257)]
    with pytest.raises(UsageError, match="257 cells"):
        matrix.planned([candidate("0.28.0", "cpu")], kinds)


def test_a_retry_to_green_hides_nothing() -> None:
    """The failed attempt stays in the history beside the pass, and the worse of a tie holds."""
    both = [failed(), replace(PASSED, recorded_at=LATER)]

    assert store.render(both).count('"verdict"') == 2
    assert versions.decide([failed(), PASSED], CELL) == failed()


def test_a_local_change_is_no_release() -> None:
    """Evidence about a checkout that nobody else has does not back a release."""
    demands = replace(inventory.load(ROOT).rules.release, lanes=("cpu",))
    dirty = [replace(row, package=replace(CLEAN, dirty=True)) for row in evidence("0.28.0")]
    found = gaps.find_gaps("0.28.0", dirty, demands, MOMENT)

    assert [gap.kind for gap in found] == [gaps.GapKind.WEAK] * 2
