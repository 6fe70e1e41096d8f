"""The image that environments are built on: named, at hand, pulled or bootstrapped."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from docker.errors import APIError, DockerException, ImageNotFound

from compat.errors import InfraError

if TYPE_CHECKING:
    from docker import DockerClient

    from compat.releases.policy import Policy

_VARIABLE = "VALUE_STEER_BASE_IMAGE"
_BOOTSTRAPPED = "value-steer-compat-base"
_EXCLUDED = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*_*")


def find(client: DockerClient, policy: Policy, log: IO[str]) -> str:
    """The id of the base image.

    The image that ``VALUE_STEER_BASE_IMAGE`` names, else the policy's or a bootstrapped one that
    is at hand, else the policy's from its container registry, else a new Debian by debootstrap.

    Raises:
        InfraError: None of these is possible here; the message says what to install.
    """
    named = os.environ.get(_VARIABLE)
    if named:
        return _local(client, named) or _pull(client, named)
    bootstrapped = f"{_BOOTSTRAPPED}:{policy.debian_suite}"
    at_hand = _local(client, policy.base_image) or _local(client, bootstrapped)
    if at_hand:
        return at_hand
    try:
        return _pull(client, policy.base_image)
    except InfraError as error:
        log.write(f"{error}\n")
        return _bootstrap(client, policy.debian_suite, log, error)


def _local(client: DockerClient, name: str) -> str | None:
    try:
        return str(client.images.get(name).id)
    except ImageNotFound:
        return None


def _pull(client: DockerClient, name: str) -> str:
    try:
        return str(client.images.pull(name).id)
    except APIError as error:
        msg = f"the base image {name} cannot be pulled ({error.explanation})"
        raise InfraError(msg) from error


def _bootstrap(client: DockerClient, suite: str, log: IO[str], pull_error: InfraError) -> str:
    debootstrap = shutil.which("debootstrap") or shutil.which("debootstrap", path="/usr/sbin")
    if debootstrap is None or os.geteuid() != 0:
        msg = (
            f"{pull_error}; set {_VARIABLE} to a Debian image with Python that Docker has, "
            "or install debootstrap and run as root, or use --isolation venv"
        )
        raise InfraError(msg) from pull_error
    with tempfile.TemporaryDirectory(prefix="value-steer-base-") as folder:
        root = Path(folder) / "root"
        command = [debootstrap, "--variant=minbase", suite, str(root)]
        log.write(f"{' '.join(command[:3])}\n")
        log.flush()
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            msg = f"debootstrap of {suite} failed with status {done.returncode}; see {log.name}"
            raise InfraError(msg)
        return _import(client, root, suite)


def _import(client: DockerClient, root: Path, suite: str) -> str:
    """Stream a root folder into an image."""
    excludes = [f"--exclude={pattern}" for pattern in _EXCLUDED]
    command = ["tar", "-C", str(root), "--one-file-system", *excludes, "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None  # noqa: S101  (a pipe was asked for)
        try:
            client.api.import_image_from_stream(tar.stdout, repository=_BOOTSTRAPPED, tag=suite)
        except DockerException as error:
            tar.kill()
            msg = f"Docker did not take the bootstrapped base image ({error}); is its disk full?"
            raise InfraError(msg) from error
    if tar.returncode != 0:
        client.images.remove(f"{_BOOTSTRAPPED}:{suite}")
        msg = f"tar of the bootstrapped base image failed with status {tar.returncode}"
        raise InfraError(msg)
    return str(client.images.get(f"{_BOOTSTRAPPED}:{suite}").id)
