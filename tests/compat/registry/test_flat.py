"""Claims of a flat registry: kept whole, shown, and without any weight."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.errors import ExitCode, RecordError, UsageError
from compat.registry import flat, store
from tests.compat.samples import CELL, HASH, PASSED
from value_steer import versions
from value_steer.versions import Standing

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = {"result": "pass", "static": True, "behavioral": True, "gpu": "A100", "notes": ["fine"]}
FLAT = {"0.19.1": ENTRY, "0.20": {"result": "fail", "static": False}}


def write(folder: Path, body: object) -> Path:
    """A flat registry."""
    path = folder / "flat.json"
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with one row."""
    path = tmp_path / "registry.json"
    path.write_text(store.render([PASSED]), encoding="utf-8")
    return path


def test_an_entry_is_kept_whole(tmp_path: Path) -> None:
    """What it says in the words of this registry, and all of it in its own."""
    first, second = flat.read(write(tmp_path, FLAT))

    assert (first.vllm, first.result, first.static, first.behavioural) == (
        *("0.19.1", "pass"),
        *(True, True),
    )
    assert json.loads(first.original) == {"0.19.1": ENTRY}
    assert (second.static, second.behavioural) == (False, None)


def test_importing_twice_changes_nothing(registry: Path, tmp_path: Path) -> None:
    """The command adds claims beside the rows, and then finds them there."""
    arguments = ["--registry", str(registry), "import-registry", str(write(tmp_path, FLAT))]
    assert cli.main(arguments) == ExitCode.PASSED
    before = registry.read_bytes()
    assert cli.main(arguments) == ExitCode.PASSED

    assert registry.read_bytes() == before
    stored = store.load_registry(registry)
    assert stored.rows == (PASSED,)
    assert [claim.vllm for claim in stored.imported] == ["0.19.1", "0.20"]


def test_claims_outlive_later_rows(registry: Path, tmp_path: Path) -> None:
    """The writer of evidence does not drop what was imported."""
    store.append(registry, (), flat.read(write(tmp_path, FLAT)))
    claims = store.load_registry(registry).imported
    store.append(registry, [replace(PASSED, seconds=1.0)])

    assert store.load_registry(registry).imported == claims
    assert len(store.load_all(registry)) == 2


def test_a_claim_validates_nothing(registry: Path, tmp_path: Path) -> None:
    """A version that another registry calls good is unknown to this one."""
    store.append(registry, (), flat.read(write(tmp_path, FLAT)))
    cell = replace(CELL, vllm="0.19.1")

    assert versions.assess(cell, store.load(registry), HASH).standing is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "version by version"),
        ({}, "version by version"),
        ({"newest": ENTRY}, "is no version"),
        ({"9" * 5000: ENTRY}, "is no version"),
        ({"0.19.1": "pass"}, "must be an object with a text named result"),
        ({"0.19.1": {"static": True}}, "must be an object with a text named result"),
        ({"0.19.1": {"result": ""}}, "must not be empty"),
        ({"0.19.1": {"result": "pass", "static": "yes"}}, "must be true or false"),
        ({"0.19.1": {"result": "pass", "behavioral": 1}}, "must be true or false"),
    ],
)
def test_what_is_no_flat_registry_is_refused(body: object, told: str, tmp_path: Path) -> None:
    """Nothing is imported from a file that is half understood."""
    with pytest.raises(UsageError, match=rf"flat\.json.*{told}"):
        flat.read(write(tmp_path, body))


@pytest.mark.parametrize(
    "change",
    [{"result": ""}, {"surprise": 1}, {"imported_at": "now"}, {"vllm": "0.19.1+cu"}, {"static": 1}],
)
def test_a_malformed_claim_makes_the_registry_invalid(
    change: dict[str, object], registry: Path, tmp_path: Path
) -> None:
    """Claims are held to the schema as rows are."""
    store.append(registry, (), flat.read(write(tmp_path, FLAT)))
    body = json.loads(registry.read_text("utf-8"))
    body["imported"][0] |= change
    registry.write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(RecordError, match="imported"):
        store.load(registry)
