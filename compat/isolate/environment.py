"""The variables that every command in an isolation sees, and nothing of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def variables(*, home: str, path: Sequence[str]) -> dict[str, str]:
    """Variables for a command in an isolation.

    Args:
        home: A writable folder; it need not exist.
        path: Folders for ``PYTHONPATH``.
    """
    return {
        "HOME": home,
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_CONFIG_HOME": f"{home}/.config",
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/.cache/hypothesis",
        "TORCHINDUCTOR_CACHE_DIR": f"{home}/inductor",
        # No vector instructions in compiled kernels: each process would ask the compiler anew which
        # ones it knows, and import torch for every answer, which is 15 s of each engine's boot.
        "TORCHINDUCTOR_VEC_ISA_OK": "0",
        # A container's user has no name that Python could look up.
        "USER": "value-steer",
        "LOGNAME": "value-steer",
        "LANG": "C.UTF-8",
        "PYTHONPATH": ":".join(path),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
