"""Tests of the reader of the matrix policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from compat.errors import UsageError
from compat.releases import policy

if TYPE_CHECKING:
    from pathlib import Path


CPU = {"lane": "cpu", "runner": "default", "since": "0.19.0"}


def write(folder: Path, **changes: object) -> Path:
    """The shipped policy with some keys changed; a key set to ``None`` is left out."""
    body = yaml.safe_load(policy.POLICY.read_text(encoding="utf-8")) | changes
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in body.items() if v is not None}), "utf-8")
    return path


def test_the_shipped_policy_is_read() -> None:
    """The shipped file is valid and demands what the suite imports."""
    rules = policy.load()
    assert any(extra.startswith("pytest") for extra in rules.extras)
    assert rules.free_disk_gib.cuda > rules.free_disk_gib.cpu > 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"base_image": None}, "missing keys: base_image"),
        ({"surprise": 1}, "unknown keys: surprise"),
        ({"cells": []}, "cells must list"),
        ({"cells": [CPU, CPU]}, "cells must list"),
        ({"cells": [CPU, CPU | {"runner": "v1"}]}, "cpu has the runner default beside another"),
        ({"cells": [CPU | {"since": "soon"}]}, r"cells\[0\]\.since = 'soon'"),
        ({"cells": [CPU | {"lane": "cpu-fast"}]}, r"cells\[0\]\.lane: 'cpu-fast' is no lane"),
        ({"cells": [{"lane": "cpu"}]}, r"cells\[0\]\.runner: missing"),
        ({"release": {"depth": "deep"}}, r"release\.depth = 'deep': must be"),
        ({"debian_suite": 12}, "debian_suite and python must be text"),
        ({"extras": "pytest"}, "extras must be a list"),
        ({"extras": ["pytest", 8]}, "extras must be a list"),
        ({"free_disk_gib": {"cpu": 6}}, "free_disk_gib: missing keys: cuda"),
        ({"free_disk_gib": 6}, "free_disk_gib: missing keys: cpu, cuda"),
        ({"free_disk_gib": {"cpu": 0, "cuda": 24}}, r"free_disk_gib\.cpu = 0: must be a positive"),
        ({"free_disk_gib": {"cpu": 6, "cuda": True}}, r"free_disk_gib\.cuda = True: must be"),
        ({"free_disk_gib": {"cpu": float("nan"), "cuda": 24}}, r"free_disk_gib\.cpu = nan: must"),
        ({"free_disk_gib": {"cpu": 6, "cuda": float("inf")}}, r"free_disk_gib\.cuda = inf: must"),
        ({"free_disk_gib": {"cpu": "6", "cuda": 24}}, r"free_disk_gib\.cpu = '6': must be"),
    ],
)
def test_a_mistake_in_the_policy_is_named(
    changes: dict[str, object], told: str, tmp_path: Path
) -> None:
    """An unknown, missing or ill-typed key is named together with the file."""
    with pytest.raises(UsageError, match=rf"policy\.yaml.*{told}"):
        policy.load(write(tmp_path, **changes))


@pytest.mark.parametrize("content", ["{", "- 1\n", "", "\t"])
def test_a_file_that_is_no_policy_is_named(content: str, tmp_path: Path) -> None:
    """What is not a YAML mapping gives one error with the file's path."""
    path = tmp_path / "policy.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"policy\.yaml"):
        policy.load(path)


def test_a_policy_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 give the same error as broken YAML."""
    path = tmp_path / "policy.yaml"
    path.write_bytes(b"\xff\xfe base")
    with pytest.raises(UsageError, match=r"policy\.yaml"):
        policy.load(path)
