"""What is built: gated, reproducible, with the registry in it and nothing that is not for users."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import nox
import packaging
import pytest

from compat.errors import UsageError
from compat.release import package
from hatch_build import GATE_NEEDS
from tests.compat.checkouts import CLEAN, ROOT, checkout, edit, evidence
from tests.compat.samples import PASSED
from value_steer import versions
from value_steer.registry import history
from value_steer.registry.rows import read_rows
from value_steer.versions import engine_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.registry.rows import Row

TODAY = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
FRESH = tuple(evidence("0.28.0", digest=engine_digest(), day=TODAY))
STALE = (FRESH[0], replace(FRESH[1], package=replace(CLEAN, engine_digest="cd" * 32)))


def release(folder: Path, rows: Sequence[Row]) -> Path:
    """A checkout of version 0.1.0 with these rows."""
    root = checkout(folder, rows, whole=True)
    edit(root / "pyproject.toml", 'version = "0.1.0.dev0"', 'version = "0.1.0"')
    return root


def build(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Build without an environment of its own, into ``dist``."""
    command = [sys.executable, "-m", "build", "--no-isolation", *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A release wheel and its source distribution, from fresh evidence."""
    root = release(tmp_path_factory.mktemp("release"), FRESH)
    history.folder(root / "validated_versions.json").mkdir()
    (root / history.FOLDER / "2020.jsonl").write_text(history.line(PASSED), encoding="utf-8")
    source, wheel = sorted(package.build(root / "dist", root), key=lambda path: path.suffix)
    assert (source.name, wheel.name) == (
        "value_steer-0.1.0.tar.gz",
        "value_steer-0.1.0-py3-none-any.whl",
    )
    return source, wheel


@pytest.mark.parametrize("kind", ["--wheel", "--sdist"])
def test_a_release_with_one_stale_row_is_not_built(kind: str, tmp_path: Path) -> None:
    """The build stops before anything is written, and names the row."""
    root = release(tmp_path, STALE)
    done = build(root, kind)

    assert done.returncode != 0
    told = done.stdout + done.stderr
    assert "0.1.0 must not be released" in told
    assert "vLLM 0.28.0 on cpu (v1, vfd)" in told
    assert STALE[1].record_id[:12] in told
    assert not list(root.glob("dist/*"))


def test_a_release_with_fresh_evidence_is_built_to_the_same_bytes_twice(
    built: tuple[Path, Path],
) -> None:
    """`package.build` compares two builds; both files are there."""
    assert all(path.stat().st_size > 10_000 for path in built)


def test_a_development_build_says_what_it_lacks(tmp_path: Path) -> None:
    """It is built all the same, from the same stale evidence."""
    root = checkout(tmp_path, STALE, whole=True)
    done = build(root, "--wheel")

    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert "lacking for a release: vLLM 0.28.0 on cpu (v1, vfd)" in told
    assert list(root.glob("dist/*.dev0-*.whl"))


def test_a_release_without_its_gate_is_not_built(tmp_path: Path) -> None:
    """Removing the machine from a checkout does not open the gate."""
    root = release(tmp_path, STALE)
    shutil.rmtree(root / "compat")
    done = build(root, "--wheel")

    assert done.returncode != 0
    assert "neither a checkout nor an unpacked source distribution" in done.stdout + done.stderr


def test_a_wheel_is_built_from_the_source_distribution(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """It has passed the gate, has no machine of its own, and gives the very same wheel."""
    source, wheel = built
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = tmp_path.iterdir()
    assert not (root / "compat").exists()
    assert not (root / history.FOLDER).exists()
    done = build(root, "--wheel")

    assert done.returncode == 0, done.stderr
    contents = [_contents(path) for path in (wheel, *root.glob("dist/*.whl"))]
    assert contents[0] == contents[1]


def _contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    """No tests, no compat, no matrix, no history; the registry is the one that was gated."""
    assert package.faults(built[1], built[1].parents[1]) == []
    names = _contents(built[1])
    assert "value_steer/validated_versions.json" in names
    line = versions.digest_line(built[1].parents[1] / "value_steer")
    assert names[f"value_steer/{versions.DIGEST_FILE}"].decode() == line
    assert {name.partition("/")[0] for name in names} == {
        *("value_steer", "value_steer-0.1.0.dist-info")
    }


@pytest.mark.parametrize("name", ["compat/cli.py", "value_steer/test_a.py", "conftest.py"])
def test_what_is_not_for_users_is_noticed(
    name: str, built: tuple[Path, Path], tmp_path: Path
) -> None:
    """A wheel with a foreign file has a fault that names it."""
    wheel = tmp_path / built[1].name
    shutil.copy(built[1], wheel)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(name, "")

    assert any(name.partition("/")[0] in fault for fault in package.faults(wheel, ROOT))


def test_the_gate_is_shut_for_the_command_too(tmp_path: Path) -> None:
    """`python -m compat build` fails with the same list."""
    with pytest.raises(UsageError, match="must not be released"):
        package.build(tmp_path / "dist", release(tmp_path, STALE))


def test_the_gate_asks_a_build_for_what_the_machine_asks_for() -> None:
    """What the hook has installed is part of the group of `python -m compat`, bounds and all."""
    groups = nox.project.load_toml(ROOT / "pyproject.toml")

    assert set(GATE_NEEDS) <= set(nox.project.dependency_groups(groups, "compat"))


_ASK = """
import json, sys
from value_steer import versions
from value_steer.registry.model import Cell
from value_steer.registry.rows import read_rows

path = versions.registry_path()
cell = Cell("0.28.0", "cpu", "v1", "abstain")
standing = versions.assess(cell, read_rows(path), versions.engine_digest()).standing
heavy = sorted({"torch", "vllm", "numpy"} & set(sys.modules))
print(json.dumps([str(path), len(read_rows(path)), standing.value, heavy]))
"""


def test_the_installed_wheel_answers_from_its_registry(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """In an environment without torch, far from any checkout."""
    wheel = built[1]
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
    subprocess.run([*install, "--no-deps", "--quiet", str(wheel)], check=True)
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    shutil.copytree(Path(packaging.__file__).parent, site / "packaging")

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env={}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    path, count, standing, heavy = json.loads(run(str(python), "-c", _ASK))
    assert Path(path) == site / "value_steer" / "validated_versions.json"
    assert (count, standing, heavy) == (len(FRESH), "validated", [])
    assert set(read_rows(Path(path))) == set(FRESH)
    told = run(str(python.with_name("value-steer-compat")), "--explain", "0.28.0")
    assert "validated on cpu/v1 abstain, cpu/v1 vfd" in told
    assert "older rows are in the repository" in told
