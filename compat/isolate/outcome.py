"""pip's output: the packages it installed, or whose fault it is that it did not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from compat.errors import InfraError, InstallError, ResolveError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from compat.isolate.protocol import Recipe

_TAIL_CHARS = 20_000
# pip reports a package that an unreachable index could not list as one that does not exist, so
# trouble of the machine is looked for first.
_INFRA = re.compile(
    r"No space left on device|Disk quota exceeded|Cannot allocate memory"
    r"|NewConnectionError|ConnectionError|Connection (?:refused|reset|broken|aborted)"
    r"|(?:Read|Connect)Timeout|Read timed out|SSLError|CERTIFICATE_VERIFY_FAILED|ProxyError"
    r"|Temporary failure|Name or service not known|Network is unreachable"
    r"|dns error|error sending request"  # uv's words
    r"|\b(?:50[0234]|429) (?:Server|Client) Error"
    r"|Unable to locate package|Failed to fetch|Could not resolve",
    re.IGNORECASE,
)
# Docker colours what a build writes to its standard error.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# A retry that was not the last one may have succeeded.
_SURVIVED = re.compile(r"^.*Retrying \(Retry\(total=[1-9].*$", re.MULTILINE)
_RESOLVE = re.compile(
    r"No matching distribution found|ResolutionImpossible|requires a different Python"
    r"|No solution found"  # uv's words
    r"|resolution-too-deep|Could not find a version that satisfies"
)
# vLLM's CPU builds demand it, and other indexes than PyTorch's do not have it.
_TORCH_OF_CPU = re.compile(
    r"(?:No matching distribution found for|there is no version of) (torch==[^\s+]+\+cpu)\b"
)

Failure: TypeAlias = InfraError | ResolveError | InstallError


@dataclass(frozen=True, slots=True)
class Installed:
    """The packages that pip installed: the lock's lines, and vLLM's wheel by file name and hash."""

    lock: tuple[str, ...]
    wheel: str
    wheel_sha256: str


@dataclass(frozen=True, slots=True)
class _Package:
    name: str
    version: str
    filename: str
    sha256: str


def failure(what: str, log: Path) -> Failure:
    """The error that the end of an installation's log stands for, to be raised by the caller.

    Args:
        what: What was attempted, to begin the message with.
        log: The log; the message names it and quotes its last error.
    """
    tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARS:]
    text = _SURVIVED.sub("", _COLOUR.sub("", tail))
    where = f"see {log}"
    if trouble := _INFRA.search(text):
        msg = f"{what} failed because of this machine or its network ({trouble[0]}); {where}"
        return InfraError(msg)
    if missing := _TORCH_OF_CPU.search(text):
        msg = (
            f"{what}: {missing[1]} is on no index that pip is configured for; PyTorch's own has "
            "it: set PIP_EXTRA_INDEX_URL to the address that PyTorch's installation page gives for "
            f"pip and CPU; {where}"
        )
        return InfraError(msg)
    if _RESOLVE.search(text):
        return ResolveError(f"{what}: pip finds no fitting packages: {_error(text)}; {where}")
    return InstallError(f"{what}: pip could not install what it found: {_error(text)}; {where}")


def installed(reports: Iterable[str], recipe: Recipe) -> Installed:
    """The packages that are there after several runs of pip.

    Args:
        reports: Documents that ``pip install --report`` wrote, in the order of the runs.
        recipe: What was to be installed.

    Raises:
        InstallError: A report is no report of pip's, or vLLM's wheel is in none of them.
    """
    try:
        packages = {
            p.name: p for text in reports for p in map(_package, json.loads(text)["install"])
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = f"pip's installation report cannot be read ({error!r}); prepare it again"
        raise InstallError(msg) from error
    vllm = packages.get(canonicalize_name(recipe.distribution))
    if vllm is None or not vllm.filename.endswith(".whl"):
        msg = f"{recipe.distribution}=={recipe.version}: pip installed no wheel of it"
        raise InstallError(msg)
    lines = (f"{p.name}=={p.version} --hash=sha256:{p.sha256}" for p in packages.values())
    return Installed(tuple(sorted(lines)), vllm.filename, vllm.sha256)


def _package(entry: dict[str, dict[str, object]]) -> _Package:
    metadata, download = entry["metadata"], entry["download_info"]
    archive = download["archive_info"]
    if not isinstance(archive, dict):
        msg = f"archive_info of {metadata['name']} is {archive!r}"
        raise TypeError(msg)
    hashes = archive.get("hashes") or dict([archive["hash"].split("=", 1)])
    filename = unquote(urlsplit(str(download["url"])).path.rpartition("/")[2])
    name, version = canonicalize_name(str(metadata["name"])), str(metadata["version"])
    return _Package(name, version, filename, hashes["sha256"])


def _error(text: str) -> str:
    """The last line that pip marked as an error, or the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["no output"])[-1][:300]
