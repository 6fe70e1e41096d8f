"""The writer of the registry: nothing is lost, changed or half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat.errors import RecordError
from compat.registry import store
from tests.compat.checkouts import ROOT
from tests.compat.samples import CELL, FAILED, HASH, PASSED, failed, passed, rows
from value_steer import versions
from value_steer.errors import RegistryError
from value_steer.registry import history
from value_steer.registry.rows import LARGEST_BYTES, read_rows

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from value_steer.registry.rows import Row

EMPTY = '{\n  "rows": [],\n  "schema_version": 1\n}\n'


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """An empty registry."""
    path = tmp_path / "validated_versions.json"
    path.write_text(EMPTY, encoding="utf-8")
    return path


def test_the_registry_of_the_checkout_is_valid() -> None:
    """The file that ships with the package can be read and is in canonical form."""
    path = ROOT / "validated_versions.json"

    registry = store.load_registry(path)
    text = store.render(registry.rows, registry.imported, registry.static)
    assert text.encode() == path.read_bytes()


def test_recording_again_changes_nothing(registry: Path) -> None:
    """A row that the registry has is not added a second time, and the bytes stay the same."""
    store.append(registry, [PASSED])
    before = registry.read_bytes()
    store.append(registry, [PASSED, PASSED])

    assert registry.read_bytes() == before
    assert store.load(registry) == (PASSED,)


def test_a_failed_run_leaves_the_former_pass_in_the_history(registry: Path) -> None:
    """Rows are added, never replaced; the failure is what decides."""
    store.append(registry, [PASSED])
    later = failed(recorded_at="2021-01-01T00:00:00Z")
    store.append(registry, [later])

    assert store.load(registry) == (later,)
    assert store.load_all(registry) == (later, PASSED)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(rows(), max_size=6), st.randoms(use_true_random=False), st.data())
def test_the_order_of_merging_does_not_matter(
    registry: Path, parts: list[Row], shuffler: random.Random, data: st.DataObject
) -> None:
    """However rows are split over writers and in whatever order they come, all are kept."""
    registry.write_text(EMPTY, encoding="utf-8")
    shutil.rmtree(history.folder(registry), ignore_errors=True)
    shuffled = shuffler.sample(parts, len(parts))
    cut = data.draw(st.integers(0, len(parts)))
    for part in (shuffled[:cut], shuffled[cut:], shuffled[:cut]):
        store.append(registry, part)

    assert set(store.load_all(registry)) == set(parts)
    assert registry.read_text(encoding="utf-8") == store.render(versions.kept(parts))


def test_versions_are_ordered_as_versions(registry: Path) -> None:
    """0.9 comes before 0.28, and a post release after its release."""
    versions = ["0.28.0.post1", "0.9.2", "0.28.0", "0.28.0rc1", "0.28.0.1"]
    store.append(registry, [passed(cell=replace(CELL, vllm=version)) for version in versions])

    ordered = ["0.9.2", "0.28.0rc1", "0.28.0", "0.28.0.post1", "0.28.0.1"]
    assert [row.cell.vllm for row in store.load(registry)] == ordered


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (passed(swallowed_errors=1), "passed with swallowed errors"),
        (passed(recorded_at="2999-01-01T00:00:00Z"), "in the future"),
        (passed(recorded_at="now"), "must be UTC"),
        (passed(recorded_at="2020-02-30T00:00:00Z"), "must be UTC"),
        (passed(cell=replace(CELL, vllm="0.28.0+cpu")), "normalised public version"),
        (passed(cell=replace(CELL, lane="a GPU")), "lane"),
        (failed(cause=None), "a cause belongs to a failed row"),
        (failed(tests=replace(FAILED.tests, executed=1)), "executed is not"),
        (passed(tests=replace(PASSED.tests, skipped=1)), "more were executed"),
    ],
)
def test_a_row_that_cannot_be_true_is_not_written(registry: Path, row: Row, message: str) -> None:
    """The registry stays as it was, and the error says what is wrong."""
    with pytest.raises(RecordError, match=message):
        store.append(registry, [PASSED, row])

    assert registry.read_text(encoding="utf-8") == EMPTY


def _tampered(key: str, value: object) -> str:
    body = PASSED.to_json()
    body[key] = value
    return json.dumps({"schema_version": 1, "rows": [body]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"schema_version": 1, "rows": [], "rows": []}', "more than once"),
        ('{"schema_version": 2, "rows": []}', "schema_version = 2"),
        ('{"schema_version": true, "rows": []}', "schema_version = True"),
        ('{"schema_version": 1, "rows": {}}', "must be a list"),
        ('{"schema_version": 1}', "nothing else"),
        ('{"schema_version": 1, "rows": [7]}', "must be an object"),
        (_tampered("seconds", 1.0), "the content hashes to"),
        (_tampered("record_id", HASH), "the content hashes to"),
        (_tampered("seconds", "1"), "seconds"),
        (_tampered("seconds", float("nan")), "NaN is not JSON"),
        (_tampered("swallowed_errors", 0.0), "swallowed_errors"),
        (_tampered("surprise", 0), "unknown key"),
        (_tampered("verdict", "green"), "verdict"),
    ],
)
def test_a_malformed_registry_is_neither_read_nor_written(
    registry: Path, text: str, message: str
) -> None:
    """Only the named error is raised, and what a person has to repair stays as it is."""
    registry.write_text(text, encoding="utf-8")

    with pytest.raises(RecordError, match=message):
        store.append(registry, [PASSED])
    assert registry.read_text(encoding="utf-8") == text


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["schema_version", "rows", "cell", "verdict"]), inner, max_size=3
            )
        ),
    ).map(lambda body: json.dumps({"schema_version": 1, "rows": [body]}).encode())
)
def test_garbage_raises_the_named_error_only(registry: Path, garbage: bytes) -> None:
    """No bytes make the reader fail in any other way."""
    registry.write_bytes(garbage)

    with pytest.raises(RecordError):
        store.load(registry)


def test_a_registry_is_read_up_to_its_bound(registry: Path) -> None:
    """White space fills it up; one byte more is refused, by both readers."""
    store.append(registry, [PASSED])
    body = registry.read_bytes()

    registry.write_bytes(body.ljust(LARGEST_BYTES))
    assert store.load(registry) == read_rows(registry) == (PASSED,)
    registry.write_bytes(body.ljust(LARGEST_BYTES + 1))
    with pytest.raises(RecordError, match="more than 16,777,216 bytes"):
        store.load(registry)
    with pytest.raises(RegistryError, match="more than 16,777,216 bytes"):
        read_rows(registry)


def test_a_year_of_history_is_read_up_to_its_bound(registry: Path) -> None:
    """The message names the file."""
    path = history.folder(registry) / "2020.jsonl"
    path.parent.mkdir(exist_ok=True)
    line = history.line(PASSED).encode()

    path.write_bytes(line.rstrip().ljust(LARGEST_BYTES - 1) + b"\n")
    assert history.read(registry) == (PASSED,)
    path.write_bytes(line.rstrip().ljust(LARGEST_BYTES) + b"\n")
    with pytest.raises(RegistryError, match=r"2020\.jsonl: cannot be read \(it has more than"):
        history.read(registry)


def test_a_missing_registry_is_not_made_anew(tmp_path: Path) -> None:
    """A wrong path does not start a second history."""
    with pytest.raises(RecordError, match="cannot be read"):
        store.append(tmp_path / "registry.json", [PASSED])


def test_a_registry_that_stays_locked_is_an_error(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the lock instead of waiting for ever."""
    monkeypatch.setattr(store, "_LOCK_SECONDS", 0.05)
    with FileLock(registry.with_name(f".{registry.name}.lock")), pytest.raises(RecordError) as held:
        store.append(registry, [PASSED])

    assert ".lock" in str(held.value)


_KILLED = """
import os, signal, sys
from pathlib import Path
from compat.registry import store
from tests.compat.samples import passed

moment, path = sys.argv[1], Path(sys.argv[2])
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if moment == "written":
    os.fsync = die
else:
    Path.replace = die
store.append(path, [passed(seconds=1.0)])
"""


@pytest.mark.parametrize("moment", ["written", "synced"])
def test_a_killed_writer_leaves_the_registry_whole(registry: Path, moment: str) -> None:
    """After a kill in the middle of a write the former rows are there, and writing works again."""
    store.append(registry, [PASSED])
    before = registry.read_bytes()
    done = _python(_KILLED, moment, str(registry)).wait()

    assert done == -signal.SIGKILL
    assert registry.read_bytes() == before
    store.append(registry, [FAILED])
    assert set(store.load_all(registry)) == {PASSED, FAILED}


_WRITER = """
import sys
from pathlib import Path
from compat.registry import store
from tests.compat.samples import passed

for i in range(5):
    store.append(Path(sys.argv[2]), [passed(seconds=float(sys.argv[1]) + i)])
"""


def test_concurrent_writers_lose_nothing(registry: Path) -> None:
    """Every row of processes that write at the same time is in the registry afterwards."""
    writers = [_python(_WRITER, str(100 * i), str(registry)) for i in range(3)]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    expected = {100.0 * i + n for i in range(3) for n in range(5)}
    assert {row.seconds for row in store.load_all(registry)} == expected


def _python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
