"""Making the host build one model runner or the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat.checkout import INTERPRETED, SUITE

if TYPE_CHECKING:
    from compat.isolate.protocol import Box, Mounts

STAND_IN = SUITE / "interpreter"
"""A back end named ``cpu``, without which vLLM builds no Model Runner V2 on a CPU."""


def lane(device: str, runner: str) -> str:
    """The lane of a runner on a device: Model Runner V2 on a CPU has one of its own."""
    return INTERPRETED if (device, runner) == ("cpu", "v2") else device


def is_cpu(lane: str) -> bool:
    """Whether a lane needs no GPU."""
    return lane.partition("-")[0] == "cpu"


def kernels(lane: str) -> dict[str, str]:
    """The variable that has Triton's kernels interpreted, in the lane where they are."""
    return {"TRITON_INTERPRET": "1"} if lane == INTERPRETED else {}


def environment(runner: str, lane: str, mounts: Mounts, box: Box) -> dict[str, str]:
    """The variables that make the host build ``runner`` in this lane."""
    if runner == "default":
        return {}
    chosen = {"VLLM_USE_V2_MODEL_RUNNER": "1" if runner == "v2" else "0"}
    if lane != INTERPRETED:
        return chosen
    path = (mounts.site, mounts.suite, mounts.suite / STAND_IN)
    return {**chosen, **kernels(lane), "PYTHONPATH": ":".join(map(box.inside, path))}
