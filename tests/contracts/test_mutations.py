"""Every row notices when the thing it needs is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contracts.contract_miniature import MINIATURE
from tests.contracts.contract_mutants import Mutant, breakages, edited, mutants
from value_steer.contracts.checker import check, examine
from value_steer.contracts.lookup import Sources
from value_steer.contracts.needs import Exists
from value_steer.contracts.report import Finding, Status
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.surface import Mode, Surface

if TYPE_CHECKING:
    from tests.contracts.contract_trees import MemoryTree

MUTANTS = [mutant for surface in SURFACES for mutant in mutants(surface)]


def finding(surface: Surface, tree: MemoryTree) -> Finding:
    """What the check says of one row; the others are not asked two thousand times."""
    return examine(surface, Sources(tree))


def test_the_miniature_satisfies_every_row() -> None:
    """The mutants differ from a tree in which nothing is wrong."""
    report = check(MINIATURE, Mode)

    assert [(f.surface.id, f.detail) for f in report.broken] == []
    assert len(report.findings) == len(SURFACES)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_a_broken_need_is_flagged(mutant: Mutant) -> None:
    """A row whose need is broken says so, and tells a lost file from a lost name."""
    found = finding(mutant.surface, mutant.tree)

    assert found.status is mutant.expected
    assert found.detail


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.id)
def test_a_row_is_not_disturbed_by_the_way_the_tree_is_written(surface: Surface) -> None:
    """Printing the file anew, without its layout, breaks nothing: the mutants' edits do."""
    assert finding(surface, edited(surface, lambda _: None)).status is Status.OK


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.id)
def test_every_need_has_a_breakage_of_its_own(surface: Surface) -> None:
    """Only a row that needs nothing but the name is tested by renaming alone."""
    assert isinstance(surface.need, Exists) or list(breakages(surface.need))
