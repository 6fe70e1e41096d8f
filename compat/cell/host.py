"""Making the host what a lane says: its model runner, its kernels, its scheduling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compat import lanes
from compat.checkout import SUITE

if TYPE_CHECKING:
    from compat.isolate.protocol import Box, Mounts


def kernels(lane: str) -> dict[str, str]:
    """The variable that has Triton's kernels interpreted, in the lanes where they are."""
    return {"TRITON_INTERPRET": "1"} if lanes.parse(lane).interpreted else {}


def environment(runner: str, lane: str, mounts: Mounts, box: Box) -> dict[str, str]:
    """The variables that make the host build ``runner`` in this lane."""
    chosen = kernels(lane)
    if runner != "default":
        chosen["VLLM_USE_V2_MODEL_RUNNER"] = "1" if runner == "v2" else "0"
    if stand_ins := lanes.parse(lane).stand_ins:
        own = [mounts.suite / SUITE / folder for folder in stand_ins]
        chosen["PYTHONPATH"] = ":".join(map(box.inside, (mounts.site, mounts.suite, *own)))
    return chosen
