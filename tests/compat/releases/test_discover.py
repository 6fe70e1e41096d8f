"""From index pages and wheel metadata to candidates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compat.errors import InfraError, UsageError
from compat.releases import discover
from compat.releases.candidates import SCHEMA_VERSION, dump_candidates, load_candidates
from value_steer.contracts.sources import index
from value_steer.contracts.sources.index import IndexWheel
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2020, 1, 10, tzinfo=timezone.utc)
RULES = discover.Rules(Version("0.19.0"), timedelta(hours=48))
CUDA = {"2.10.0": "12.8", "2.13.0": "13.0"}


def wheel(version: str, *, lane: str = "cuda", build: int = 0, hours: float = 999) -> IndexWheel:
    """A wheel that was uploaded some hours ago."""
    distribution = discover.DISTRIBUTIONS[lane].replace("-", "_")
    tag = f"-{build}" if build else ""
    return IndexWheel(
        filename=f"{distribution}-{version}{tag}-cp38-abi3-linux_x86_64.whl",
        version=Version(version),
        build=build,
        platform="linux_x86_64",
        url="elsewhere",
        sha256=f"{build:064x}",
        requires_python=">=3.10,<3.15" if lane == "cuda" else ">=3.11",
        yanked=False,
        uploaded=NOW - timedelta(hours=hours),
    )


def metadata(*requirements: str) -> str:
    """METADATA with these requirements."""
    lines = [f"Requires-Dist: {requirement}" for requirement in requirements]
    return "\n".join(["Metadata-Version: 2.4", "Name: vllm", *lines, "", "Requires-Dist: text"])


@pytest.mark.parametrize(
    ("version", "kept"),
    [
        ("0.18.1", False),
        ("0.19.0rc1", False),
        ("0.19.0", True),
        ("0.19.0.post1", True),
        ("0.19.0.1", True),
        ("0.100.0", True),
        ("1.0rc1", False),
    ],
)
def test_which_versions_count(version: str, kept: bool) -> None:  # noqa: FBT001
    """From the floor on, by version order, with post and four-part releases."""
    assert bool(discover.eligible([wheel(version)], RULES, NOW)) is kept


def test_prereleases_count_when_asked_for() -> None:
    """A pre-release of the floor itself is below the floor."""
    rules = replace(RULES, prereleases=True)
    found = discover.eligible([wheel("0.19.0rc1"), wheel("0.20.0rc1")], rules, NOW)

    assert [str(w.version) for w in found] == ["0.20.0rc1"]


def test_yanked_wheels_do_not_count() -> None:
    """A yanked wheel is no candidate."""
    assert discover.eligible([replace(wheel("0.20.0"), yanked=True)], RULES, NOW) == ()


@pytest.mark.parametrize(("hours", "build"), [(47.9, 0), (48, 1)])
def test_a_rebuild_waits_for_its_cooldown(hours: float, build: int) -> None:
    """Until a rebuild has cooled down, the build before it stands."""
    (found,) = discover.eligible(
        [wheel("0.20.0"), wheel("0.20.0", build=1, hours=hours)], RULES, NOW
    )

    assert found.build == build


@pytest.mark.parametrize(
    ("requirements", "pin"),
    [
        (["torch==2.10.0"], "2.10.0"),
        (['torch==2.10.0+cpu; platform_machine == "x86_64"', "torch==2.10.0"], "2.10.0"),
        (["torchaudio==2.9.0", "torch==2.13.0", "torch>=2"], "2.13.0"),
    ],
)
def test_the_pin_of_torch(requirements: list[str], pin: str) -> None:
    """The public version counts, whatever the platform's flavour."""
    assert discover.torch_pin(metadata(*requirements)) == pin


@pytest.mark.parametrize(
    "requirements", [[], ["torch>=2"], ["torch==2.10.0", "torch==2.11.0"], ["torch==2.1 ! x"]]
)
def test_an_unclear_pin_is_refused(requirements: list[str]) -> None:
    """No pin, two pins and nonsense are errors, not guesses."""
    with pytest.raises(UsageError):
        discover.torch_pin(metadata(*requirements))


@pytest.mark.parametrize(
    ("requirement", "cuda"),
    [
        ("nvidia-cuda-runtime-cu12==12.8.90; sys_platform == 'linux'", "12.8"),
        ("cuda-toolkit[cublas,nvrtc]==13.0.2", "13.0"),
    ],
)
def test_the_cuda_generation(requirement: str, cuda: str) -> None:
    """Both ways in which torch has named its CUDA are understood."""
    assert discover.cuda_generation(metadata("sympy", requirement)) == cuda


def test_torch_without_cuda_is_refused() -> None:
    """A torch wheel that names no CUDA runtime is an error."""
    with pytest.raises(UsageError, match="no CUDA runtime"):
        discover.cuda_generation(metadata("sympy>=1"))


def test_candidates_have_the_lanes_that_exist() -> None:
    """Builds per lane, Python that all of them accept, and the file reads back the same."""
    cpu, cuda, newer = wheel("0.19.0", lane="cpu"), wheel("0.19.0"), wheel("0.20.0")
    texts = {
        cpu.filename: metadata("torch==2.10.0+cpu"),
        cuda.filename: metadata("torch==2.10.0"),
        newer.filename: metadata("torch==2.13.0"),
    }

    first, second = discover.assemble({"cuda": [newer, cuda], "cpu": [cpu]}, texts, CUDA)

    assert [build.lane for build in first.builds] == ["cpu", "cuda"]
    assert first.requires_python == "<3.15,>=3.10,>=3.11"
    assert (first.torch, first.cuda) == ("2.10.0", "12.8")
    assert [build.lane for build in second.builds] == ["cuda"]


def test_the_file_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    """Writing is deterministic, reading gives back what was written, and no address is in it."""
    wheels = [wheel("0.19.0"), wheel("0.20.0")]
    texts = {w.filename: metadata("torch==2.10.0") for w in wheels}
    found = discover.assemble({"cuda": wheels}, texts, CUDA)
    text = dump_candidates(found)
    path = tmp_path / "candidates.json"
    path.write_text(text, encoding="utf-8")

    assert dump_candidates(reversed(found)) == text
    assert load_candidates(path) == found
    assert "elsewhere" not in text
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("cpu_pin", "told"), [("torch==2.13.0", "pin different torch"), ("torch==2.10.0", "no Linux")]
)
def test_builds_that_disagree_are_refused(cpu_pin: str, told: str) -> None:
    """Two pins for one release, or a pin that the index does not have, stop the discovery."""
    cpu, cuda = wheel("0.19.0", lane="cpu"), wheel("0.19.0")
    texts = {cpu.filename: metadata(cpu_pin), cuda.filename: metadata("torch==2.10.0")}
    with pytest.raises(UsageError, match=told):
        discover.assemble({"cpu": [cpu], "cuda": [cuda]}, texts, {})


def test_an_index_that_does_not_answer_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is infrastructure."""

    def refuse() -> None:
        msg = "pip does not tell"
        raise ContractError(msg)

    monkeypatch.setattr(index, "pip_settings", refuse)
    with pytest.raises(InfraError, match="pip does not tell"):
        discover.discover(RULES)
