"""Making the host what a lane says: its model runner, its kernels, its scheduling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compat import lanes
from compat.axes import DEFAULT
from compat.checkout import SUITE
from value_steer.contracts.surface import Runner

if TYPE_CHECKING:
    from compat.isolate.protocol import Box, Mounts


@dataclass(frozen=True, slots=True)
class Options:
    """How engines run on GPUs; on a CPU there is no choice.

    Attributes:
        eager: Whether without CUDA graphs and compiled models, which are the host's default.
        ranks: Over how many GPUs each engine is spread.
        sync_check: What the host does where a step waits for the GPU, ``error`` or ``warn``;
            ``None``: nothing. vLLM 0.25 was the first that could.
    """

    eager: bool = False
    ranks: int = 1
    sync_check: str | None = None


def variables(options: Options, gpus: int) -> dict[str, str]:
    """Variables that tell the suite of the GPUs that it runs on; none on a CPU."""
    if not gpus:
        return {}
    told = {"VALUE_STEER_SUITE_GPUS": str(gpus), "VALUE_STEER_SUITE_RANKS": str(options.ranks)}
    if not options.eager:
        told["VALUE_STEER_SUITE_GRAPHS"] = "1"
    if options.sync_check is not None:
        told["VLLM_GPU_SYNC_CHECK"] = options.sync_check
    return told


def kernels(lane: str) -> dict[str, str]:
    """The variable that has Triton's kernels interpreted, in the lanes where they are."""
    return {"TRITON_INTERPRET": "1"} if lanes.parse(lane).interpreted else {}


def environment(runner: str, lane: str, mounts: Mounts, box: Box) -> dict[str, str]:
    """The variables that make the host build ``runner`` in this lane."""
    chosen = kernels(lane)
    if runner != DEFAULT:
        chosen["VLLM_USE_V2_MODEL_RUNNER"] = "1" if runner == Runner.V2 else "0"
    if stand_ins := lanes.parse(lane).stand_ins:
        own = [mounts.suite / SUITE / folder for folder in stand_ins]
        chosen["PYTHONPATH"] = ":".join(map(box.inside, (mounts.site, mounts.suite, *own)))
    return chosen
