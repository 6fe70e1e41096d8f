"""The versions and the device: ``python -m compat.behaviour.facts FILE`` writes one JSON object."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch
import vllm
from vllm.platforms import current_platform

from compat.behaviour.batches import INTERPRETED
from compat.behaviour.engines import ASYNCHRONOUS


def facts() -> dict[str, str | None]:
    """Versions and device of the environment that the suite runs in."""
    lane, device, driver = _device()
    return {
        "vllm": vllm.__version__,
        "distribution": metadata.packages_distributions()["vllm"][0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lane": lane,
        "device": device,
        "driver": driver,
    }


def _device() -> tuple[str, str, str | None]:
    if not current_platform.is_cuda():
        words = {"interpreted": INTERPRETED, "async": ASYNCHRONOUS}
        lane = "-".join(["cpu", *(word for word, applies in words.items() if applies)])
        return lane, _cpu_model(), None
    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    major, minor = torch.cuda.get_device_capability()
    return f"cuda-sm{major}{minor}", torch.cuda.get_device_name(), driver


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(facts()), encoding="utf-8")
