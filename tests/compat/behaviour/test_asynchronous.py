"""The stand-in for asynchronous scheduling, on a vLLM and a torch of a few lines."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from compat.behaviour.messages import LATE
from compat.checkout import ROOT, SUITE

if TYPE_CHECKING:
    from collections.abc import Iterator

STAND_IN = "cpu_async_standin"


def module(name: str, monkeypatch: pytest.MonkeyPatch, **names: Any) -> ModuleType:
    """A module that can be imported until the test ends."""
    made = ModuleType(name)
    vars(made).update(names)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def promise(base: type, made_in: str) -> type:
    """A promise of a class that a module defines."""
    return type("Promise", (base,), {"__module__": made_in, "get_output": lambda _: "output"})


class Platform:
    """As vLLM's for CPUs."""

    @classmethod
    def check_and_update_config(cls, config: Any) -> None:
        """Turn asynchronous scheduling off."""
        config.scheduler_config.async_scheduling = False


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The host with the stand-in in it, which is registered twice, as vLLM may."""
    promises: type = type("AsyncModelRunnerOutput", (), {})
    torch = SimpleNamespace(Event=type("Event", (), {"__module__": "torch"}))
    cuda = {"stream": type("stream", (), {"__module__": "torch.cuda"}), "current_stream": print}
    early = promise(promises, "vllm.v1.worker.gpu_model_runner")
    platform = type("CpuPlatform", (Platform,), {})
    module("torch", monkeypatch, cuda=SimpleNamespace(**cuda), Event=torch.Event)
    for name in ("vllm", "vllm.platforms", "vllm.v1"):
        module(name, monkeypatch)
    module("vllm.platforms.cpu", monkeypatch, CpuPlatform=platform)
    module("vllm.v1.outputs", monkeypatch, AsyncModelRunnerOutput=promises)
    monkeypatch.syspath_prepend(str(ROOT / SUITE / "asynchronous"))
    for name in (STAND_IN, f"{STAND_IN}.streams"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stand_in = importlib.import_module(STAND_IN)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    stand_in.register()
    stand_in.register()
    yield SimpleNamespace(platform=platform, promises=promises, early=early)
    for name in (STAND_IN, f"{STAND_IN}.streams"):
        del sys.modules[name]


@pytest.mark.parametrize(("wanted", "found"), [(None, True), (True, True), (False, False)])
def test_what_the_platform_turns_off_is_on(
    host: SimpleNamespace,
    wanted: bool | None,  # noqa: FBT001
    found: bool,  # noqa: FBT001
) -> None:
    """Where an operator has turned it off, or vLLM itself had a reason to, it stays off."""
    config = SimpleNamespace(scheduler_config=SimpleNamespace(async_scheduling=wanted))

    host.platform.check_and_update_config(config)

    assert config.scheduler_config.async_scheduling is found


def test_every_promise_of_the_host_is_kept_late(
    host: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether its class was there before or comes later; the process says so once."""
    late = promise(host.promises, "vllm.v1.worker.gpu.async_utils")

    with caplog.at_level(logging.INFO, "vllm"):
        assert [kind().get_output() for kind in (host.early, late, late)] == ["output"] * 3

    assert caplog.messages == [LATE]


def test_a_promise_of_another_is_left_alone(
    host: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """What value-steer promises waits for one of vLLM's already."""
    ours = promise(host.promises, "value_steer.engine.delivery")

    with caplog.at_level(logging.INFO, "vllm"):
        assert ours().get_output() == "output"

    assert caplog.messages == []


def test_an_output_finds_streams_on_a_cpu(
    host: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vLLM's outputs use them: nothing is waited for, since nothing is under way."""
    del host
    torch: Any = sys.modules["torch"]
    own = SimpleNamespace()  # as the runner of a CPU has one before 0.28
    with torch.cuda.stream(own):
        own.wait_stream(torch.cuda.current_stream())
    event = torch.Event(blocking=True)
    event.record()
    event.synchronize()

    # What vLLM has put there is not replaced.
    theirs = type("stream", (), {"__module__": "vllm.v1.worker.cpu.shm"})
    monkeypatch.setattr(torch.cuda, "stream", theirs)
    importlib.import_module(f"{STAND_IN}.streams").provide()
    assert torch.cuda.stream is theirs
