"""Every way value-steer can fail, one class each.

ValueSteerError
├── SettingsError      a key of additional_config or extra_args
├── CheckpointError    a value-head file or its sidecar
├── CalibrationError   a threshold cannot be calibrated, or resolved from a calibration
├── DataError          trajectories, labels or features cannot be used
├── RegistryError      the version registry is missing or malformed
├── ContractError      vLLM's source cannot be read for a contract check
├── UnsupportedError   the engine is configured in a way that cannot be steered
├── UnvalidatedError   the vLLM that runs has no evidence and the operator demanded some
├── SelfTestError      a hook into the engine is not reached
└── SteeringError      a decision failed while requests were being served
"""

from __future__ import annotations


class ValueSteerError(Exception):
    """Base of every error that value-steer raises on purpose."""


class SettingsError(ValueSteerError, ValueError):
    """A configuration key is unknown, has the wrong type, or is out of range."""


class CheckpointError(ValueSteerError):
    """A value-head checkpoint or its sidecar cannot be used."""


class CalibrationError(ValueSteerError, ValueError):
    """A calibration cannot be made, or does not cover the operating point that is asked for."""


class CalibrationWarning(UserWarning):
    """A calibration is weaker than what was asked for; its threshold acts less, never more."""


class DataError(ValueSteerError, ValueError):
    """A record or a file of prompts, labels, features or trajectories cannot be used."""


class RegistryError(ValueSteerError):
    """The registry of validated versions cannot be read or violates its schema."""


class ContractError(ValueSteerError):
    """vLLM's source cannot be located or parsed, so its contracts are unknown."""


class UnsupportedError(ValueSteerError):
    """The engine is configured in a way in which steering would not be correct."""


class UnvalidatedError(ValueSteerError):
    """The running vLLM lacks evidence and ``VALUE_STEER_UNVALIDATED=error`` demands it."""


class SelfTestError(ValueSteerError):
    """A forced decision on a synthetic step did not come out of the engine."""


class SteeringError(ValueSteerError, RuntimeError):
    """A steering decision failed during a step; no unsteered token is served in its place."""
