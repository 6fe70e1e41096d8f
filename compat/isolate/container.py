"""Isolation in containers: one image per recipe, one container per command."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import docker
from docker.errors import APIError, DockerException
from docker.types import DeviceRequest, LogConfig
from requests.exceptions import RequestException

from compat.errors import InfraError
from compat.isolate import base_image, environment, image, outcome
from compat.isolate.protocol import NO_ENV, Completed, Mounts, Prepared, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from compat.releases.policy import Policy

_BOX_LABEL = "value-steer.box"
_SITE, _SUITE, _OUT = "/site", "/suite", "/out"
_HOME = "/tmp/home"  # noqa: S108  (inside the container)


class ContainerIsolation:
    """Containers of the Docker daemon that the environment points to."""

    kind = "container"

    def __init__(self, client: DockerClient, policy: Policy, *, gpu: bool) -> None:
        self._client = client
        self._policy = policy
        self._gpu = gpu
        self.python = policy.python

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:  # noqa: ARG002
        """See :meth:`compat.isolate.protocol.Isolation.prepare`; images lie with the daemon."""
        start = time.monotonic()
        minutes = self._policy.timeout_minutes.prepare
        with _infra("preparing the image"), log.open("w", encoding="utf-8") as stream:
            base = base_image.find(self._client, self._policy, stream)
            found = image.find(self._client, image.tag_of(recipe, base))
            image_id = found or image.build(self._client, recipe, base, stream, minutes)
            installed = outcome.installed(image.reports(self._client, image_id), recipe)
        return Prepared(
            kind=self.kind,
            image_id=image_id,
            lock=installed.lock,
            wheel=installed.wheel,
            wheel_sha256=installed.wheel_sha256,
            seconds=time.monotonic() - start,
            reused=found is not None,
        )

    def discard(self, prepared: Prepared) -> None:
        """See :meth:`compat.isolate.protocol.Isolation.discard`; the layer of torch stays."""
        assert prepared.image_id is not None  # noqa: S101  (prepare sets it)
        with _infra("removing the image"):
            image.remove(self._client, prepared.image_id)

    @contextlib.contextmanager
    def open(self, prepared: Prepared, mounts: Mounts) -> Iterator[ContainerBox]:
        """See :meth:`compat.isolate.protocol.Isolation.open`."""
        assert prepared.image_id is not None  # noqa: S101  (prepare sets it)
        box = ContainerBox(self._client, prepared.image_id, mounts, gpu=self._gpu)
        try:
            yield box
        finally:
            box.close()


@dataclass(frozen=True, slots=True)
class _Mount:
    outside: Path
    inside: str
    mode: str


class ContainerBox:
    """Runs each command in a fresh container that is removed when the command ends."""

    def __init__(self, client: DockerClient, image_id: str, mounts: Mounts, *, gpu: bool) -> None:
        self._client = client
        self._image_id = image_id
        self._gpu = gpu
        self._label = uuid.uuid4().hex
        self._mounts = (
            _Mount(mounts.site.resolve(), _SITE, "ro"),
            _Mount(mounts.suite.resolve(), _SUITE, "ro"),
            _Mount(mounts.out.resolve(), _OUT, "rw"),
        )

    def inside(self, path: Path) -> str:
        """See :meth:`compat.isolate.protocol.Box.inside`."""
        absolute = path.resolve()
        for mount in self._mounts:
            if absolute.is_relative_to(mount.outside):
                return str(PurePosixPath(mount.inside, absolute.relative_to(mount.outside)))
        msg = f"{path} is below none of the mounts {[str(m.outside) for m in self._mounts]}"
        raise ValueError(msg)

    def run(
        self, argv: Sequence[str], *, log: Path, timeout: float, env: Mapping[str, str] = NO_ENV
    ) -> Completed:
        """See :meth:`compat.isolate.protocol.Box.run`."""
        with _infra(f"running {argv[0]} in a container"):
            container = self._create(argv, env)
            try:
                return _watch(container, log, timeout)
            finally:
                container.remove(force=True)

    def close(self) -> None:
        """Remove what an interrupted :meth:`run` may have left."""
        label = f"{_BOX_LABEL}={self._label}"
        with _infra("removing containers"):
            for container in self._client.containers.list(all=True, filters={"label": label}):
                container.remove(force=True)

    def _create(self, argv: Sequence[str], env: Mapping[str, str]) -> Container:
        everything = DeviceRequest(count=-1, capabilities=[["gpu"]])
        return self._client.containers.create(
            self._image_id,
            list(argv),
            environment={**environment.variables(home=_HOME, path=(_SITE, _SUITE)), **env},
            user=f"{os.getuid()}:{os.getgid()}",
            working_dir=_SUITE,
            volumes=[f"{m.outside}:{m.inside}:{m.mode}" for m in self._mounts],
            labels={**image.LABEL, _BOX_LABEL: self._label},
            # The one driver whose output every daemon can give back.
            log_config=LogConfig(type=LogConfig.types.JSON),
            network_mode="host",
            shm_size="2g",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            device_requests=[everything] if self._gpu else None,
        )


def _watch(container: Container, log: Path, timeout: float) -> Completed:
    """Start a container, let its output flow into a file, and kill it at the time limit."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        # Refused when the container ended by itself just now, which is as good.
        with contextlib.suppress(APIError):
            container.kill()

    timer = threading.Timer(timeout, expire)
    start = time.monotonic()
    with log.open("wb") as stream:
        container.start()
        timer.start()
        try:
            for chunk in container.logs(stream=True, follow=True):
                stream.write(chunk)
                stream.flush()
            status = container.wait()["StatusCode"]
        finally:
            timer.cancel()
            timer.join()
    return Completed(int(status), time.monotonic() - start, expired.is_set())


@contextlib.contextmanager
def _infra(what: str) -> Iterator[None]:
    try:
        yield
    except (DockerException, RequestException) as error:
        msg = f"{what}: the Docker daemon failed ({error}); see `docker info` and its log"
        raise InfraError(msg) from error
    except OSError as error:
        msg = f"{what}: {error}"
        raise InfraError(msg) from error


@dataclass(frozen=True, slots=True)
class Daemon:
    """A Docker daemon, as it describes itself."""

    version: str
    serves_gpus: bool


# What docker makes of answers, and what we do, that no daemon gives.
_NO_DAEMON = (
    DockerException,
    RequestException,
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    RecursionError,
)


def connect() -> DockerClient:
    """A client whose daemon answers.

    Raises:
        InfraError: No daemon answers.
    """
    try:
        return docker.from_env()
    except _NO_DAEMON as error:
        raise _silent(error) from error


def describe(client: DockerClient) -> Daemon:
    """The daemon's description of itself.

    Raises:
        InfraError: It does not answer any more, or not as a daemon does.
    """
    try:
        return Daemon(str(client.version()["Version"]), "nvidia" in client.info()["Runtimes"])
    except _NO_DAEMON as error:
        raise _silent(error) from error


def _silent(error: Exception) -> InfraError:
    return InfraError(f"no Docker daemon answers ({type(error).__name__}: {str(error)[:200]})")
