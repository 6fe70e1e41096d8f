"""Whether a head can be trained on a device."""

from __future__ import annotations

import torch

from value_steer.errors import SettingsError


def require_device(name: str) -> None:
    """Make sure that torch can compute there.

    Raises:
        SettingsError: It cannot.
    """
    try:
        # Its name alone says too little: "cuda" is known to a torch that was built without it.
        torch.ones(1, device=name).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0].rstrip(".")
        msg = (
            f"device = {name!r} cannot be used here ({why}); use cpu, or cuda on a machine with it"
        )
        raise SettingsError(msg) from error
