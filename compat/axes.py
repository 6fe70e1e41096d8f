"""The axes of the matrix besides releases and lanes, and what may be asked for of each."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from value_steer.contracts.surface import Mode, Runner

MODES = tuple(mode.value for mode in Mode)
RUNNERS = tuple(runner.value for runner in Runner)

AskedRunner: TypeAlias = Literal["default", "v1", "v2"]
"""The model runner that the host is made to build, or its own choice."""

ASKED_RUNNERS: tuple[AskedRunner, ...] = get_args(AskedRunner)
DEFAULT: AskedRunner = "default"

AskedIsolation: TypeAlias = Literal["auto", "container", "venv"]
"""Where vLLM is installed; ``auto`` for the best that this machine has."""

ASKED_ISOLATIONS: tuple[AskedIsolation, ...] = get_args(AskedIsolation)
