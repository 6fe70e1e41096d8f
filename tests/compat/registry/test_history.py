"""The registry stays as small as its cells are many, and no row is lost to the history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compat import cli
from compat.errors import ExitCode, RecordError
from compat.registry import store
from compat.release import gaps, gate
from compat.releases import matrix
from tests.compat.samples import CELL, HASH, PASSED, VOID, failed, passed
from value_steer import versions
from value_steer.registry import history
from value_steer.registry.model import Cause, Cell, Verdict
from value_steer.registry.rows import Row  # noqa: TC001  (hypothesis resolves annotations)

CHECKOUT = Path(__file__).parents[3]
EMPTY = '{\n  "rows": [],\n  "schema_version": 1\n}\n'


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """An empty registry."""
    path = tmp_path / "validated_versions.json"
    path.write_text(EMPTY, encoding="utf-8")
    return path


def at(second: int, row: Row = PASSED) -> Row:
    """A row of a certain second."""
    return replace(row, recorded_at=f"2020-01-01T00:{second // 60:02}:{second % 60:02}Z")


def sweep(second: int) -> list[Row]:
    """What a sweep of two modes adds."""
    return [at(second), at(second, replace(PASSED, cell=replace(CELL, mode="vfd")))]


def test_the_size_is_bounded_by_cells(registry: Path) -> None:
    """Fifty sweeps of the same cells leave a registry as large as one does, and lose nothing."""
    store.append(registry, sweep(0))
    size = registry.stat().st_size
    for second in range(1, 51):
        store.append(registry, sweep(second))

    assert registry.stat().st_size == size
    assert len(store.load(registry)) == 2
    assert set(store.load_all(registry)) == {row for s in range(51) for row in sweep(s)}
    assert len(store.load_history(registry)) == 100


MODES = ("abstain", "vfd")
CELLS = [Cell("0.28.0", "cpu", runner, mode) for runner, mode in product((None, "v1", "v2"), MODES)]
VERDICTS = [Verdict.PASSED, Verdict.FAILED, Verdict.NO_EVIDENCE, Verdict.WITHDRAWN]


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Rows of few cells at few moments, with every kind of verdict."""
    rows = []
    for cell in draw(st.lists(st.sampled_from(CELLS), max_size=12)):
        verdict = draw(st.sampled_from(VERDICTS if cell.runner else VERDICTS[1:]))
        cause = Cause.BOOT if verdict is Verdict.FAILED else None
        reason = None if verdict is Verdict.PASSED else "why"
        row = replace(PASSED, cell=cell, verdict=verdict, cause=cause, reason=reason)
        seconds = draw(st.floats(0, 3).map(lambda seconds: round(seconds, 1)))
        rows.append(at(draw(st.integers(0, 5)), replace(row, seconds=seconds)))
    return rows


@settings(deadline=None)
@given(histories())
def test_what_decides_stays(rows: list[Row]) -> None:
    """Every answer that is computed from rows is the same without those that became history."""
    kept = versions.kept(rows)

    assert all(versions.decide(kept, cell) == versions.decide(rows, cell) for cell in CELLS)
    assert versions.current(kept) == versions.current(rows)
    assert set(gaps.holding("0.28.0", kept)) == set(gaps.holding("0.28.0", rows))
    plan = [matrix.cell("0.28.0", "cpu", runner) for runner in ("default", "v1", "v2")]
    assert list(gate.unsettled(plan, kept)) == list(gate.unsettled(plan, rows))
    assert len(kept) <= 2 * len({row.cell for row in rows})
    assert set(versions.kept(kept)) == set(kept)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(histories(), st.data())
def test_nothing_is_lost_whatever_is_written_when(
    registry: Path, rows: list[Row], data: st.DataObject
) -> None:
    """In whatever order rows come, the registry holds what decides and the history the others."""
    registry.write_text(EMPTY, encoding="utf-8")
    for path in history.folder(registry).glob("*"):
        path.unlink()
    rest = data.draw(st.permutations(rows))
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        store.append(registry, rest[:size])
        rest = rest[size:]

    assert set(store.load(registry)) == set(versions.kept(rows))
    assert set(store.load_all(registry)) == set(rows)
    files = history.folder(registry).glob("*")
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(set(lines)) == len(set(rows)) - len(store.load(registry))


def test_a_run_without_a_verdict_is_kept_while_it_is_the_newest(registry: Path) -> None:
    """The gate asks for it, and the pass before it holds."""
    void = at(1, VOID)
    store.append(registry, [at(0), void])
    assert set(store.load(registry)) == {at(0), void}
    assert store.load_history(registry) == ()

    store.append(registry, [at(2)])
    assert store.load(registry) == (at(2),)
    assert set(store.load_history(registry)) == {at(0), void}


def test_a_row_lies_in_the_file_of_its_year(registry: Path) -> None:
    """Files are added to at their end, and those of other years stay as they are."""
    days = ["2019-12-31T23:59:59Z", "2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]
    for day in days:
        store.append(registry, [passed(recorded_at=day)])
    folder = history.folder(registry)
    first = (folder / "2020.jsonl").read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == ["2019.jsonl", "2020.jsonl"]

    store.append(registry, [passed(recorded_at="2020-01-03T00:00:00Z")])
    assert (folder / "2020.jsonl").read_text(encoding="utf-8").startswith(first)
    (line,) = (folder / "2019.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == passed(recorded_at=days[0]).to_json()


def test_a_row_that_became_history_is_not_added_again(registry: Path) -> None:
    """A fragment may be merged twice, whatever came in between."""
    store.append(registry, [at(0)])
    store.append(registry, [at(1)])
    before = [path.read_bytes() for path in (registry, history.folder(registry) / "2020.jsonl")]
    store.append(registry, [at(0)])

    assert before == [
        path.read_bytes() for path in (registry, history.folder(registry) / "2020.jsonl")
    ]


_KILLED = """
import os, signal, sys
from pathlib import Path
from compat.registry import store
from tests.compat.registry.test_history import at

calls, survived = 0, int(sys.argv[1])
def die(*_):
    global calls
    calls += 1
    if calls > survived:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*_)
original, Path.replace = Path.replace, die
store.append(Path(sys.argv[2]), [at(1)])
"""


@pytest.mark.parametrize("survived", [0, 1])
def test_a_killed_writer_loses_no_row(registry: Path, survived: int) -> None:
    """Before the history is written, and between the history and the registry."""
    store.append(registry, [at(0)])
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", _KILLED, str(survived), str(registry)]
    done = subprocess.run(command, env=environment, check=False)

    assert done.returncode == -signal.SIGKILL
    assert store.load_all(registry) == (at(0),)
    assert len(store.load_history(registry)) == survived
    store.append(registry, [at(1)])
    assert store.load(registry) == (at(1),)
    assert store.load_history(registry) == (at(0),)


def _broken(text: str, *, old: str = "", new: str = "") -> bytes:
    assert old in text
    return text.replace(old, new).encode()


GOOD = history.line(at(0))
CASES = [
    (_broken(GOOD)[:-100], r"2020\.jsonl:1: is no whole row"),
    (_broken(GOOD) + _broken(GOOD)[:50], r"2020\.jsonl:2: is no whole row"),
    (_broken(GOOD) + b"\n" + _broken(GOOD), r"2020\.jsonl:2: is no whole row"),
    (_broken(GOOD, old='"seconds":12.5', new='"seconds":13.5'), r"2020\.jsonl:1.*hashes to"),
    (_broken(GOOD, old='"seconds":12.5', new='"surprise":13.5'), "unknown key"),
    (b"7\n", r"2020\.jsonl:1.*must be an object"),
    (b"\xff\n", r"2020\.jsonl:1"),
    (history.line(at(0, passed(cell=replace(CELL, lane="a GPU")))).encode(), "lane"),
]


@pytest.mark.parametrize(("content", "message"), CASES)
def test_a_malformed_history_is_named_and_not_written(
    registry: Path, content: bytes, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """File and line stand in one error; a line that is cut off, which no writer leaves, is one."""
    path = history.folder(registry) / "2020.jsonl"
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(RecordError, match=message):
        store.load_history(registry)
    assert cli.main(["--registry", str(registry), "registry"]) == ExitCode.USAGE
    assert "error" in capsys.readouterr().err
    if "lane" not in message:
        with pytest.raises(RecordError, match=message):
            store.append(registry, [at(1), at(2)])
        assert registry.read_text(encoding="utf-8") == EMPTY
    assert path.read_bytes() == content


def test_a_last_line_without_its_end_is_a_row(registry: Path) -> None:
    """An editor may have left it so; the next row gets a line of its own."""
    path = history.folder(registry) / "2020.jsonl"
    path.parent.mkdir()
    path.write_text(GOOD.rstrip("\n"), encoding="utf-8")

    assert store.load_history(registry) == (at(0),)
    store.append(registry, [at(1), at(2)])
    assert path.read_text(encoding="utf-8") == GOOD + history.line(at(1))


def test_only_one_release_is_asked_for(registry: Path) -> None:
    """What is known of others need not be read."""
    other = passed(cell=replace(CELL, vllm="0.29.0"))
    rows = [at(s, row) for row in (PASSED, other) for s in (0, 1)]
    store.append(registry, rows)

    assert store.load_history(registry, "0.29.0") == (at(0, other),)
    assert set(store.load_all(registry, "0.28.0")) == {*rows} - {at(0, other)}


def test_the_history_of_the_checkout_is_as_it_was_written() -> None:
    """Every line is a row in canonical form, in the file of its year, and decides nothing."""
    path = CHECKOUT / "validated_versions.json"
    rows = store.load_history(path)

    written = {
        file.stem: file.read_text(encoding="utf-8") for file in history.folder(path).iterdir()
    }
    assert sorted("".join(written.values()).splitlines()) == sorted(
        history.line(row).rstrip("\n") for row in rows
    )
    assert {row.recorded_at[:4] for row in rows} == set(written)
    stored = store.load(path)
    assert set(versions.kept((*rows, *stored))) == set(stored)


def test_the_story_of_a_release_is_whole(
    registry: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became history is counted, in a checkout and by the command that users have."""
    # What vLLM's sources say of it is read from the package index.
    monkeypatch.setattr("value_steer.contracts.history.story.told", lambda _: ())
    store.append(registry, [at(0, failed()), at(1), at(2)])

    assert cli.main(["--registry", str(registry), "explain", "0.28.0"]) == ExitCode.PASSED
    told = " ".join(capsys.readouterr().out.split())
    assert "history: 3 rows from 2020-01-01 to 2020-01-01: 2 passed, 1 failed" in told


def test_a_pass_that_became_history_is_found_by_its_code(registry: Path) -> None:
    """Reuse and bisection ask for evidence about this very code, which other code may outlive."""
    other = replace(PASSED.package, engine_digest="0" * 64)
    store.append(registry, [at(0)])
    store.append(registry, [at(1, passed(package=other))])

    assert [row.package.engine_digest for row in store.load_all(registry)] == ["0" * 64, HASH]
