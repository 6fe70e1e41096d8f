"""A device's streams for an asynchronous output: on a CPU all is done when it is called.

vLLM's CPU worker has these from 0.23 on, and whole from 0.28 on; what it has put in place stays.
"""

from __future__ import annotations

from typing import Any

import torch


def provide() -> None:
    """Put them in the place of those that torch has for a device."""
    for module, name, ours in (
        (torch, "Event", _Event),
        (torch.cuda, "current_stream", _Stream),
        (torch.cuda, "stream", _Entered),
    ):
        if getattr(module, name).__module__.startswith("torch"):
            setattr(module, name, ours)


def _nothing(*_: object, **__: object) -> None:
    return None


class _Event:
    def __init__(self, *_: object, **__: object) -> None:
        self.record = self.wait = self.synchronize = _nothing


class _Stream:
    def __init__(self, *_: object, **__: object) -> None:
        self.wait_stream = self.wait_event = self.synchronize = _nothing


class _Entered:
    def __init__(self, stream: Any) -> None:
        # Before 0.28 that of the CPU's runner has no methods, since nobody was to call them.
        stream.wait_stream = _nothing

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
