"""Fixtures of the behavioural suite, and the list of tests that a run must contain."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from compat.behaviour import heads, processes, tiny_images, tiny_models
from compat.behaviour.batches import INTERPRETED, SHORT
from compat.behaviour.engines import (
    ENVIRONMENT,
    GPUS,
    ONE_THREAD,
    Engine,
    EnginePool,
    PlainEngine,
)
from compat.behaviour.messages import EngineSpec
from compat.behaviour.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What is computed here shares few cores with the engines, and its threads would wait for them.
os.environ.update(ONE_THREAD)

# The same examples in every run, kept nowhere: where the suite lies may be read-only. A failure is
# neither made smaller nor followed by others: in the negative control that tells nothing.
settings.register_profile(
    "suite",
    max_examples=3 if SHORT else 12,
    deadline=None,  # an engine is no function to be timed
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes what was collected."""
    parser.addoption("--collected", type=Path, help="write the collected tests to this JSON file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what plain vLLM cannot do here."""
    beyond = {"compiled": INTERPRETED, "two_devices": GPUS == 1}
    names = [name for name, applies in beyond.items() if applies]
    left_out = [item for item in items if any(map(item.get_closest_marker, names))]
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


_BOOTS = pytest.StashKey[list[float]]()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what the engines took; pytest itself names the slowest tests."""
    boots = config.stash.get(_BOOTS, [])
    if boots:
        line = (
            f"{len(boots)} engines booted in {sum(boots):.0f} s, the slowest in {max(boots):.1f} s"
        )
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> None:
    """Import vLLM in the parent of all engines while models and heads are made here."""
    processes.start_fork_server(ENVIRONMENT)


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for models, heads and logs."""
    return tmp_path_factory.mktemp("behaviour")


@pytest.fixture(scope="session")
def model_of(workshop: Path) -> Callable[[str], Path]:
    """Where the tiny model of a family lies, built on first use."""

    @functools.cache
    def build(family: str) -> Path:
        folder = workshop / family
        return tiny_images.build(folder) if family == "blip2" else tiny_models.build(family, folder)

    return build


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
    request: pytest.FixtureRequest,
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
    request.config.stash[_BOOTS] = engines.boots
    yield engines
    engines.close()
    record_testsuite_property("value_steer.swallowed_errors", swallowed)
    record_testsuite_property("value_steer.runner", "+".join(sorted(runners)))


@pytest.fixture(scope="session", autouse=True)
def server(
    request: pytest.FixtureRequest,
    workshop: Path,
    model_of: Callable[[str], Path],
    recognising_head: Callable[[str], str],
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[Server | None]:
    """A server that does both; it boots while the first tests run, if any test is to ask it.

    What it says of outcomes that did not come is recorded: a test sees only that one is missing.
    """
    functions = [item for item in request.session.items if isinstance(item, pytest.Function)]
    if not any("client" in function.fixturenames for function in functions):
        yield None
        return
    section = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    says = {"message": "w021 w022", "reasoning_end_token": "w030"}
    heads = {"lenient": {**section, "threshold": 0.01}}
    config: dict[str, object] = {"abstain": {**section, **says, "heads": heads}, "vfd": section}
    started = Server(model_of("mistral"), config, workshop / "server.log")
    yield started
    started.end()
    for notice in started.notices():
        record_testsuite_property("server_notice", notice)


@pytest.fixture(scope="session")
def plain_of(pool: EnginePool) -> Callable[[str], PlainEngine]:
    """Plain vLLM, without value-steer, with the model of a family."""
    return functools.cache(lambda family: PlainEngine(pool, EngineSpec(model=family)))


@pytest.fixture
def plain(plain_of: Callable[[str], PlainEngine]) -> PlainEngine:
    """Plain vLLM, without value-steer."""
    return plain_of("mistral")


@pytest.fixture
def filtering(pool: EnginePool, recognising_head: Callable[[str], str]) -> Engine:
    """An engine that filters bad tokens."""
    vfd = {"value_head_path": recognising_head("mistral"), "threshold": 0.5}
    return pool.get(EngineSpec(vfd=vfd))
