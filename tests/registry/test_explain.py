"""The story of one release, from the registry alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from compat import cli
from compat.registry import store
from tests.compat.checkouts import ROOT, evidence
from tests.compat.samples import CELL, HASH, VOID, failed
from value_steer import compat_check, versions
from value_steer.contracts.history import story
from value_steer.errors import ContractError
from value_steer.registry import explain
from value_steer.registry.model import Cause, Imported, StaticCheck
from value_steer.registry.rows import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.contracts.history.story import Story
    from value_steer.registry.rows import Row

NOW = datetime(2020, 5, 20, 12, tzinfo=timezone.utc)
GOOD = evidence("0.28.0")
CLAIM = Imported("2020-05-01T00:00:00Z", "0.28.0", "pass", True, None, "{}", HASH)  # noqa: FBT003


def told_of(vllm: str, *rows: Row, claims: tuple[Imported, ...] = ()) -> str:
    """What is told of a release."""
    return "\n".join(explain.lines(vllm, Registry(rows, claims), HASH, NOW))


def test_a_validated_release_is_told_in_one_screen() -> None:
    """Verdict, depth, tests, control, age, evidence and command, in few and short lines."""
    told = told_of("0.28.0", *GOOD, replace(VOID, recorded_at="2020-05-10T00:00:00Z"))

    assert told.startswith("vLLM 0.28.0: validated on cpu/v1 abstain, cpu/v1 vfd\n")
    for word in ("passed", "equal", "3/3", "fired", "14 d", "validated", "venv", "2.13.0+cpu"):
        assert word in told
    assert GOOD[0].record_id[:12] in told
    assert str(GOOD[0].upstream.wheel) in told
    assert "history: 3 rows from 2020-05-06 to 2020-05-10: 2 passed, 1 no_evidence" in told
    assert "reproduce: nox -s compat -- 0.28.0 --lane cpu --runner v1" in told
    assert len(told.splitlines()) < 24
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    ("rows", "start"),
    [
        ([], "vLLM 0.28.0: never tested"),
        ([VOID], "vLLM 0.28.0: never tested"),
        (evidence("0.28.0", digest="cd" * 32), "vLLM 0.28.0: stale on cpu/v1 abstain, cpu/v1 vfd"),
        (evidence("0.29.0"), "vLLM 0.28.0: never tested"),
        (
            [failed(cell=replace(CELL, runner=None), cause=Cause.INSTALL), GOOD[1]],
            "vLLM 0.28.0: validated on cpu/v1 vfd; known not to work on cpu/any abstain",
        ),
    ],
)
def test_the_first_line_says_how_it_stands(rows: list[Row], start: str) -> None:
    """Nothing tested, evidence about other code, and failures are told apart."""
    told = told_of("0.28.0", *rows)

    assert told.splitlines()[0] == start
    assert "nox -s compat -- 0.28.0" in told


def test_a_failure_is_told_with_its_reason() -> None:
    """Cause and reason are what a reader looks for."""
    told = told_of("0.28.0", failed())

    assert "failed (behaviour)" in told
    assert "1 of 3 tests failed" in told
    assert "known bad" in told


def test_a_claim_is_told_as_one() -> None:
    """What another registry says is shown, and that it counts for nothing."""
    told = told_of("0.28.0", claims=(CLAIM,))

    assert told.startswith("vLLM 0.28.0: never tested")
    assert "claimed elsewhere: pass (static passed, behavioural not stated)" in told
    assert "counts for nothing" in told


def test_what_was_only_read_is_told_as_that() -> None:
    """A source is no run: the release stays untested, and what is broken is named."""
    check = StaticCheck("0.28.0", "v1", "abstain", 60, (), "vllm.whl", HASH, HASH)
    checks = (check, replace(check, mode="vfd", broken=("sampler",)), replace(check, vllm="0.29.0"))

    told = "\n".join(explain.lines("0.28.0", Registry((), (), checks), HASH, NOW)).splitlines()

    assert told[0] == "vLLM 0.28.0: never tested"
    assert told[1:3] == [
        "contracts in its source, v1 abstain: all 60 hold",
        "contracts in its source, v1 vfd: 1 of 60 do not hold (sampler)",
    ]
    assert told[3] == "reproduce: nox -s compat -- 0.28.0 (in a checkout)"


def test_no_lane_is_named_for_a_release_that_none_has_run() -> None:
    """It may have no build for a CPU; the machine that is asked knows its own lane."""
    assert told_of("0.33.0").endswith("reproduce: nox -s compat -- 0.33.0 (in a checkout)")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry that both commands read."""
    path = tmp_path / "validated_versions.json"
    path.write_text(store.render(GOOD), encoding="utf-8")
    monkeypatch.setattr(versions, "registry_path", lambda: path)
    return path


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package index does not answer."""

    def no_index(version: str) -> Story:
        msg = f"no index for {version}"
        raise ContractError(msg)

    monkeypatch.setattr(story, "story", no_index)


@pytest.mark.usefixtures("registry")
def test_the_contracts_are_told_after_the_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an index the registry's part stands, and the other says why it is missing."""
    assert compat_check.main(["--explain", "0.28"]) == 0
    assert capsys.readouterr().out.endswith("contracts: not read: no index for 0.28\n")


@pytest.mark.parametrize("name", ["0.28.0", "0.28", "v0.28.0"])
@pytest.mark.usefixtures("registry")
def test_the_command_explains(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However the version is written."""
    assert compat_check.main(["--explain", name]) == 0
    assert "history: 2 rows" in capsys.readouterr().out


@pytest.mark.usefixtures("registry")
def test_what_is_no_version_is_not_explained(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is that of a question that was not answered."""
    with pytest.raises(SystemExit) as stopped:
        compat_check.main(["--explain", "newest"])
    assert stopped.value.code == 2
    assert "'newest' is no version" in capsys.readouterr().err


def test_a_broken_registry_is_an_error(registry: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, and nothing is told from it."""
    registry.write_text("{", encoding="utf-8")

    assert compat_check.main(["--explain", "0.28.0"]) == 2
    assert str(registry) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["0.28.0", "0.28"])
def test_maintainers_are_told_what_is_lacking(
    name: str,
    registry: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The machine's command adds the demands of the policy and the extra."""
    monkeypatch.setattr(story, "told", lambda _: ())
    assert cli.main(["--registry", str(registry), "explain", name]) == 0

    told = capsys.readouterr().out
    assert "vLLM 0.28.0: stale" in told
    assert "lacking: vLLM 0.28.0 on cpu (v1, abstain)" in told
    assert "extra: inside of `vllm" in told


def test_explaining_needs_no_torch() -> None:
    """A registry is asked on any machine."""
    program = (
        "import sys\n"
        "from value_steer.contracts.history import story\n"
        "from value_steer.compat_check import main\n"
        "story.told = lambda version: [version]\n"
        "assert main(['--explain', '0.28.0']) == 0\n"
        "assert not {'torch', 'vllm', 'numpy'} & set(sys.modules), 'imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stderr


def test_an_installed_registry_says_that_it_is_not_the_whole_story() -> None:
    """Only in a checkout the older rows are at hand."""
    told = [
        "\n".join(explain.lines("0.28.0", Registry(tuple(GOOD)), HASH, NOW, is_whole=is_whole))
        for is_whole in (True, False)
    ]

    assert ["older rows are in the repository" in text for text in told] == [False, True]


def test_the_command_tells_the_history_of_a_checkout(
    registry: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that no longer decide are counted, and none is told twice."""
    store.append(registry, [replace(row, recorded_at="2020-05-07T07:08:09Z") for row in GOOD])

    assert compat_check.main(["--explain", "0.28.0"]) == 0
    told = capsys.readouterr().out
    assert "history: 4 rows from 2020-05-06 to 2020-05-07: 4 passed\n" in told
