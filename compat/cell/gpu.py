"""Whether this machine can run the CUDA lane, and with what."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from compat.errors import InfraError

_SMI = "nvidia-smi"


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of this machine.

    Attributes:
        count: How many of them CUDA may use; 0 without a driver.
        driver: The driver's version, such as ``580.65.06``; ``None`` without one.
    """

    count: int
    driver: str | None


def lane() -> str:
    """The lane of this machine: ``cuda-sm90``, ... for its first GPU, else ``cpu``.

    Raises:
        InfraError: There is a driver, and it does not answer or knows no compute capability.
    """
    answers = _answers("compute_cap")
    if not answers:
        return "cpu"
    if re.fullmatch(r"\d+\.\d", answers[0]) is None:
        why = f"it names the compute capability {answers[0]!r}"
        raise _broken(why)
    return "cuda-sm" + answers[0].replace(".", "")


def survey() -> Gpus:
    """How many GPUs there are, and under which driver.

    Raises:
        InfraError: There is a driver, and it does not answer.
    """
    answers = _answers("driver_version")
    if not answers:
        return Gpus(0, None)
    # It hides GPUs from CUDA, not from the driver's own tool.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = len(answers) if visible is None else len([v for v in visible.split(",") if v.strip()])
    return Gpus(min(shown, len(answers)), answers[0])


def _answers(question: str) -> list[str]:
    """The driver's answers for each GPU; none where there is none."""
    smi = shutil.which(_SMI)
    if smi is None:
        return []
    query = [smi, f"--query-gpu={question}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _broken(str(error)) from error
    if done.returncode != 0:
        return []
    return done.stdout.strip().split("\n")


def _broken(why: str) -> InfraError:
    smi = shutil.which(_SMI)
    return InfraError(f"{smi} gives no compute capability: {why}; repair the driver or remove it")
