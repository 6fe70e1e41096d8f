"""A row of the contract: one thing that value-steer needs of vLLM's source."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from value_steer.contracts.needs import Need


class Mode(str, Enum):
    """A way in which value-steer steers a request."""

    ABSTAIN = "abstain"
    VFD = "vfd"


class Runner(str, Enum):
    """The generation of vLLM's model runner."""

    V1 = "v1"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Surface:
    """One need.

    Attributes:
        id: Stable name of the row, unique.
        path: The file that defines the symbol, or hands it on: ``vllm/v1/outputs.py``.
        symbol: A name of that module, or ``Class.member``, which may be inherited.
        need: What must hold of it.
        runners: The model runners on which it is needed.
        modes: The modes that need it.
        used_by: The function or method of value-steer that would break, dotted.
        why: What it is needed for, in one sentence.
        since: The first release that is to have it: ``0.26``. What is built on it is not offered
            before. ``None``: all releases are.
    """

    id: str
    path: str
    symbol: str
    need: Need
    runners: frozenset[Runner]
    modes: frozenset[Mode]
    used_by: str
    why: str
    since: str | None = None

    def is_asked_of(self, version: str | None) -> bool:
        """Whether a release is to have it; so is what has no version, or one of a vendor's own.

        Args:
            version: As vLLM states it; ``None`` if it states none.
        """
        if self.since is None or version is None:
            return True
        try:
            stated = Version(version)
        except InvalidVersion:
            return True
        # A pre-release is asked what its release is to have.
        return Version(stated.base_version) >= Version(self.since)
