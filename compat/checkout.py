"""The code under test: the wheel built from this checkout, unpacked, and what identifies it."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from compat import git, lanes
from compat.errors import UsageError
from value_steer import versions
from value_steer.registry import digests
from value_steer.registry.model import Package

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parent.parent
SUITE = Path("compat") / "behaviour"
CONTRACTS = Path("value_steer") / "contracts" / "rows"
_EVIDENCE_SOURCES = ("value_steer", "compat", "matrix", "pyproject.toml")


@dataclass(frozen=True)
class Product:
    """A built wheel and the suite that judges it.

    Attributes:
        site: Folder with the unpacked wheel, metadata and entry points included.
        suite: Folder with ``compat/behaviour`` in it and nothing else of the checkout.
        version: Version of the wheel.
        wheel_sha256: Hash of the wheel.
        engine_digest: Hash of the code that decides how the engine is steered.
        suite_digest: Hash of what of the behavioural suite the lane uses.
        contracts_digest: Hash of the contracts that are checked.
        commit: Commit of the checkout, 40 hex digits, or ``None`` outside of one.
        dirty: Whether the checkout differs from that commit, or git cannot tell.
    """

    site: Path
    suite: Path
    version: str
    wheel_sha256: str
    engine_digest: str
    suite_digest: str
    contracts_digest: str
    commit: str | None
    dirty: bool


def build(folder: Path, lane: str) -> Product:
    """Build the wheel and lay out what an isolation of a lane mounts.

    Raises:
        UsageError: The checkout cannot be built.
    """
    for old in ("dist", "site", "suite"):
        shutil.rmtree(folder / old, ignore_errors=True)
    wheel = _build_wheel(folder / "dist")
    site, suite = folder / "site", folder / "suite"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    shutil.copytree(ROOT / SUITE, suite / SUITE, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "compat" / "__init__.py", suite / "compat")
    return Product(
        site=site,
        suite=suite,
        version=wheel.name.split("-")[1],
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        engine_digest=versions.engine_digest(site / "value_steer"),
        suite_digest=_suite_digest(suite / SUITE, lane),
        contracts_digest=_digest(site / CONTRACTS),
        commit=_commit(),
        dirty=_dirty(),
    )


def identify(lane: str) -> Package:
    """The identity of this checkout on a lane where no wheel of it was built.

    Raises:
        UsageError: ``pyproject.toml`` states no version.
    """
    stated = re.search(
        r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    if stated is None:
        msg = f"{ROOT / 'pyproject.toml'}: states no version"
        raise UsageError(msg)
    return Package(
        version=stated[1],
        commit=_commit(),
        dirty=_dirty(),
        wheel_sha256=None,
        engine_digest=versions.engine_digest(ROOT / "value_steer"),
        suite_digest=_suite_digest(ROOT / SUITE, lane),
        contracts_digest=contracts_digest(),
    )


def contracts_digest() -> str:
    """Hash of the contracts in this checkout."""
    return _digest(ROOT / CONTRACTS)


def _build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        msg = f"the checkout cannot be built:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise UsageError(msg)
    return wheels[0]


def digest(files: Mapping[str, bytes]) -> str:
    """Digest of what decides among some files, by relative path: code, settings, metadata.

    Raises:
        UsageError: Python code among them is none.
    """
    try:
        return digests.of_files({p: c for p, c in files.items() if _decides(PurePosixPath(p))})
    except ValueError as error:
        raise UsageError(str(error)) from error


def _decides(path: PurePosixPath) -> bool:
    # What is installed as a distribution is found by its metadata, the stand-in for one.
    return path.suffix in (".py", ".ini") or path.parent.suffix == ".dist-info"


def _digest(folder: Path) -> str:
    return digest(_files(folder))


def _suite_digest(folder: Path, lane: str) -> str:
    """Digest of the suite without the folders that only other lanes use."""
    unused = set(lanes.STAND_INS) - set(lanes.parse(lane).stand_ins)
    files = _files(folder).items()
    return digest({p: c for p, c in files if PurePosixPath(p).parts[0] not in unused})


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def commit_time() -> str:
    """Seconds since 1970 at which the commit was made; those of hatchling outside of one."""
    return git.text(ROOT, "log", "-1", "--format=%ct") or "1580601600"


def _commit() -> str | None:
    return git.text(ROOT, "rev-parse", "HEAD")


def _dirty() -> bool:
    # A git that cannot answer vouches for nothing.
    return git.text(ROOT, "status", "--porcelain", "--", *_EVIDENCE_SOURCES) != ""
