"""Builds the image of one recipe, or finds it built."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
import time
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException

from compat.errors import InfraError
from compat.isolate import find_links, locks, outcome, pip_settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from docker import DockerClient

    from compat.isolate.protocol import Recipe

    Events: TypeAlias = "Generator[dict[str, str], None, None]"

CONTAINERFILE = Path(__file__).parents[2] / "matrix" / "Containerfile"
LABEL = {"value-steer": "compat"}
_REPOSITORY = "value-steer-compat"
_REPORTS = "/opt/reports"
_TORCH_LOCK = "torch.txt"
_BASE = "BASE_IMAGE"
# pip gives up on a silent index sooner; a compiler may say nothing for long.
_SILENCE_SECONDS = 1800


def arguments(base: str) -> dict[str, str]:
    """The build arguments of the Containerfile."""
    return {_BASE: base}


def tag_of(recipe: Recipe, base: str) -> str:
    """The image's name: the same for the same Containerfile, base and recipe."""
    inputs = [CONTAINERFILE.read_text(encoding="utf-8"), base, asdict(recipe)]
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"{_REPOSITORY}:{key[:16]}"


def find(client: DockerClient, tag: str) -> str | None:
    """The id of an image, ``None`` if there is none of that name."""
    try:
        return str(client.images.get(tag).id)
    except ImageNotFound:
        return None


def build(client: DockerClient, recipe: Recipe, base: str, log: IO[str], minutes: float) -> str:
    """Build the image of a recipe and return its id.

    Args:
        client: Whose daemon builds.
        recipe: What to install.
        base: Id of the base image.
        log: Receives the output of the build.
        minutes: Time limit.

    Raises:
        InfraError: The daemon fails, or the limit is exceeded.
        ResolveError: pip finds no fitting packages.
        InstallError: pip cannot install what it found.
    """
    settings = pip_settings.read()
    variables = {**arguments(base), **settings.proxy_variables()}
    with tempfile.TemporaryDirectory(prefix="value-steer-build-") as folder:
        context = Path(folder)
        with find_links.serve(settings.local_folders()) as address:
            lay_out(context, recipe, settings, address)
            complete = follow(_start(client, context, recipe, variables), log, minutes)
    built = find(client, tag_of(recipe, base))
    if built is None or not complete:
        log.flush()
        what = f"building the image of {recipe.distribution} {recipe.version}"
        raise outcome.failure(what, Path(log.name))
    return built


def remove(client: DockerClient, image_id: str) -> None:
    """Remove an image with the layers below it that it alone needs, down to the layer of torch.

    ``noprune=False`` would take torch's layer too, which the next release of vLLM may share.

    Raises:
        DockerException: The daemon refuses, for instance because a container uses the image.
    """
    for layer in client.images.get(image_id).history():
        if _TORCH_LOCK in layer["CreatedBy"]:
            return
        try:
            client.images.remove(layer["Id"], noprune=True)
        except APIError as error:
            if layer["Id"] == image_id or error.status_code != HTTPStatus.CONFLICT:
                raise
            return  # the image of another recipe stands on this layer


def reports(client: DockerClient, image_id: str) -> list[str]:
    """The documents that pip wrote during the build, in the order of its runs.

    Raises:
        InfraError: The image does not contain them.
    """
    container = client.containers.create(image_id, ["true"], labels=LABEL)
    try:
        chunks, _ = container.get_archive(_REPORTS)
        archive = b"".join(chunks)
    except DockerException as error:
        msg = f"image {image_id} has no {_REPORTS} ({error}); remove the image and run again"
        raise InfraError(msg) from error
    finally:
        container.remove(force=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
        files = [file for member in members if (file := tar.extractfile(member)) is not None]
        return [file.read().decode() for file in files]


def lay_out(
    context: Path, recipe: Recipe, settings: pip_settings.PipSettings, address: str
) -> None:
    """Fill the build context."""
    inside = context / "settings"
    inside.mkdir()
    (inside / "pip.conf").write_text(settings.render(address), encoding="utf-8")
    if settings.cert:
        shutil.copyfile(settings.cert, inside / Path(pip_settings.CERT_INSIDE).name)
    for name, part in zip((_TORCH_LOCK, "rest.txt"), locks.split(recipe.lock), strict=True):
        (context / name).write_text(locks.dumps(part), encoding="utf-8")
    shutil.copyfile(CONTAINERFILE, context / "Containerfile")


def _start(
    client: DockerClient, context: Path, recipe: Recipe, variables: dict[str, str]
) -> Events:
    return client.api.build(
        path=str(context),
        dockerfile="Containerfile",
        tag=tag_of(recipe, variables[_BASE]),
        buildargs=variables,
        labels=LABEL,
        network_mode="host",
        rm=True,
        forcerm=True,
        decode=True,
        timeout=_SILENCE_SECONDS,
    )


def follow(events: Events, log: IO[str], minutes: float) -> bool:
    """Let the output of a build flow into the log; whether the build ended without an error."""
    deadline = time.monotonic() + 60 * minutes
    try:
        for event in events:
            log.write(event.get("stream") or event.get("error") or "")
            log.flush()
            if "error" in event:
                return False
            if time.monotonic() > deadline:
                break
        else:
            return True
    except (DockerException, RequestException) as error:
        msg = f"the Docker daemon stopped the build or fell silent ({error}); see {log.name}"
        raise InfraError(msg) from error
    finally:
        # The daemon ends a build whose client is gone.
        events.close()
    msg = f"the image was not built within {minutes:g} minutes; see {log.name}"
    raise InfraError(msg)
