"""Fixtures of the behavioural suite, and the list of tests that a run must contain."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from compat.behaviour import heads, tiny_models
from compat.behaviour.batches import INTERPRETED
from compat.behaviour.engines import Engine, EnginePool
from compat.behaviour.messages import EngineSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# The same examples in every run, kept nowhere: where the suite lies may be read-only. A failure is
# not made smaller: in the negative control that takes minutes and tells nothing.
settings.register_profile(
    "suite",
    max_examples=3 if INTERPRETED else 20,
    deadline=None,  # an engine is no function to be timed
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes what was collected."""
    parser.addoption("--collected", type=Path, help="write the collected tests to this JSON file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the host itself cannot do where its kernels are interpreted."""
    if not INTERPRETED:
        return
    left_out = [item for item in items if item.get_closest_marker("compiled")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the ids and marks of the collected tests, if asked to."""
    path = session.config.getoption("--collected")
    if path is not None:
        rows = [_describe(item) for item in session.items]
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _describe(item: pytest.Item) -> dict[str, object]:
    sentinel, depth = item.get_closest_marker("sentinel"), item.get_closest_marker("depth")
    if depth is None:
        msg = f"{item.nodeid} has no depth mark: boots, fires or equal"
        raise pytest.UsageError(msg)
    return {
        "id": item.nodeid,
        "modes": sorted(mark.args[0] for mark in item.iter_markers("mode")),
        "depth": depth.args[0],
        "sentinel": sentinel.args[0] if sentinel else None,
        "detects_dead": item.get_closest_marker("detects_dead") is not None,
    }


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for models, heads and logs."""
    return tmp_path_factory.mktemp("behaviour")


@pytest.fixture(scope="session")
def model_of(workshop: Path) -> Callable[[str], Path]:
    """Where the tiny model of a family lies, built on first use."""
    return functools.cache(lambda family: tiny_models.build(family, workshop / family))


@pytest.fixture(scope="session")
def constant_head(workshop: Path) -> Callable[[float], str]:
    """The file of a head that gives every hidden state the same P(good)."""
    return functools.cache(
        lambda p_good: str(heads.constant(p_good, workshop / f"constant-{p_good}.safetensors"))
    )


@pytest.fixture(scope="session")
def recognising_head(workshop: Path, model_of: Callable[[str], Path]) -> Callable[[str], str]:
    """The file of a head that recognises bad tokens in a family's hidden states."""

    @functools.cache
    def build(family: str) -> str:
        path = workshop / f"recognising-{family}.safetensors"
        return str(heads.token_recognising(model_of(family), path))

    return build


@pytest.fixture(scope="session")
def pool(
    workshop: Path,
    model_of: Callable[[str], Path],
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[EnginePool]:
    """Engines by description; records the runner and the errors swallowed by any of them."""
    swallowed = 0
    runners: set[str] = set()

    def inspect(engine: Engine) -> None:
        nonlocal swallowed
        swallowed += engine.counters()["swallowed_errors"]
        runners.add(engine.runner())

    engines = EnginePool(model_of=model_of, logs=workshop, on_close=inspect)
    yield engines
    engines.close()
    record_testsuite_property("value_steer.swallowed_errors", swallowed)
    record_testsuite_property("value_steer.runner", "+".join(sorted(runners)))


@pytest.fixture
def plain(pool: EnginePool) -> Engine:
    """Plain vLLM, without value-steer."""
    return pool.get(EngineSpec())


@pytest.fixture
def filtering(pool: EnginePool, recognising_head: Callable[[str], str]) -> Engine:
    """An engine that filters bad tokens."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    return pool.get(EngineSpec(vfd=vfd))
