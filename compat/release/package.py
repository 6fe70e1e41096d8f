"""The wheel and the source distribution, built twice to the same bytes, with nothing foreign in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from compat.checkout import ROOT, commit_time
from compat.errors import CompatError, UsageError
from compat.release.inventory import REGISTRY


def build(out: Path, root: Path = ROOT) -> tuple[Path, ...]:
    """Build both distributions, the wheel from the source distribution.

    Args:
        out: Folder that receives them; former ones are removed.
        root: The checkout.

    Raises:
        UsageError: They cannot be built; above all because the gate is shut.
        CompatError: A second build gives other bytes, or the wheel holds what it must not.
    """
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (_build(root, Path(scratch) / name) for name in ("first", "second"))
        differing = [name for name in first | second if first.get(name) != second.get(name)]
        if differing:
            msg = f"two builds differ: {', '.join(sorted(differing))}"
            raise CompatError(msg)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(Path(scratch) / "first", out)
    built = tuple(out / name for name in sorted(first))
    problems = [
        problem for path in built if path.suffix == ".whl" for problem in faults(path, root)
    ]
    if problems:
        raise CompatError("\n".join(problems))
    return built


def faults(wheel: Path, root: Path = ROOT) -> list[str]:
    """The faults in the content of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        inside = f"value_steer/{REGISTRY}"
        registry = archive.read(inside) if inside in names else b""
    tops = {name.partition("/")[0] for name in names}
    foreign = sorted(top for top in tops if top != "value_steer" and not top.endswith(".dist-info"))
    tests = sorted(n for n in names if Path(n).name.startswith(("test_", "conftest")))
    problems = [f"{wheel.name}: {name} does not belong in it" for name in (*foreign, *tests)]
    if registry != (root / REGISTRY).read_bytes():
        problems.append(f"{wheel.name}: carries another registry than the checkout's")
    return problems


def _build(root: Path, out: Path) -> dict[str, bytes]:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), "."]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time()}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        msg = f"the distributions cannot be built:\n{(done.stdout + done.stderr)[-3000:].strip()}"
        raise UsageError(msg)
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}
