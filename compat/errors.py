"""Every way the compatibility machine stops, one class each, with its exit code.

CompatError
├── UsageError      a wrong argument, or a file of the matrix that people edit is malformed
├── RecordError     the registry of validated versions is malformed, or a row would make it so
├── InfraError      this machine, not vLLM, is in the way
├── ResolveError    pip finds no set of packages
├── InstallError    pip finds one and cannot install it
└── ReportError     what a step wrote is missing, malformed or not to be trusted
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit statuses of ``python -m compat``."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    INFRA = 3
    NO_EVIDENCE = 4
    TIMEOUT = 5
    INTERRUPTED = 130


class CompatError(Exception):
    """Base of every error that the compatibility machine raises on purpose."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class UsageError(CompatError):
    """An argument or a hand-edited file is wrong, and the message says how to put it right."""

    exit_code = ExitCode.USAGE


class RecordError(CompatError):
    """The registry cannot be read, violates its schema, or would after a write."""

    exit_code = ExitCode.USAGE


class InfraError(CompatError):
    """The machine lacks something (disk, network, a tool); says nothing about vLLM."""

    exit_code = ExitCode.INFRA


class ResolveError(CompatError):
    """No set of packages satisfies the release's requirements."""


class InstallError(CompatError):
    """A resolved set of packages does not install."""


class ReportError(CompatError):
    """The output of a step is no evidence: missing, malformed, oversized or contradictory."""

    exit_code = ExitCode.NO_EVIDENCE
