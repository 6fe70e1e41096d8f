"""Where the base image comes from."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from docker.errors import APIError, ImageNotFound

from compat.errors import InfraError
from compat.isolate import base_image

if TYPE_CHECKING:
    from docker import DockerClient

    from compat.releases.policy import Policy

PULLED = "python:3.11-slim-bookworm"
BOOTSTRAPPED = "value-steer-compat-base:bookworm"


class Images:
    """The images of a daemon and of its registry; an image's id is its name in brackets."""

    def __init__(self, here: set[str], registry: set[str]) -> None:
        self._here = here
        self._registry = registry

    def get(self, name: str) -> SimpleNamespace:
        """An image that is at hand."""
        if name not in self._here:
            raise ImageNotFound(name)
        return SimpleNamespace(id=f"<{name}>")

    def pull(self, name: str) -> SimpleNamespace:
        """An image from the registry."""
        if name not in self._registry:
            message = "no such host"
            raise APIError(message, explanation=message)
        return SimpleNamespace(id=f"<{name}>")


def find(here: set[str], registry: set[str]) -> str:
    """The base image found with these images."""
    client = cast("DockerClient", SimpleNamespace(images=Images(here, registry)))
    policy = cast("Policy", SimpleNamespace(base_image=PULLED, debian_suite="bookworm"))
    return base_image.find(client, policy, io.StringIO())


@pytest.mark.parametrize(
    ("named", "here", "registry", "expected"),
    [
        ("mine:1", {"mine:1", PULLED}, set(), "mine:1"),
        ("mine:1", {PULLED}, {"mine:1"}, "mine:1"),
        ("", {PULLED, BOOTSTRAPPED}, set(), PULLED),
        ("", {BOOTSTRAPPED}, {PULLED}, BOOTSTRAPPED),
        ("", set(), {PULLED}, PULLED),
    ],
)
def test_the_nearest_image_is_taken(
    monkeypatch: pytest.MonkeyPatch, named: str, here: set[str], registry: set[str], expected: str
) -> None:
    """The user's word comes first, then what is at hand, then the registry."""
    monkeypatch.setenv("VALUE_STEER_BASE_IMAGE", named)

    assert find(here, registry) == f"<{expected}>"


@pytest.mark.parametrize("named", ["", "mine:1"])
def test_without_any_source_the_way_out_is_named(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The message says why the pull failed; an image the user named is not replaced by another."""
    monkeypatch.setenv("VALUE_STEER_BASE_IMAGE", named)
    monkeypatch.setattr("shutil.which", lambda *_args, **_options: None)

    with pytest.raises(InfraError, match="no such host") as caught:
        find({PULLED} if named else set(), set())

    assert ("debootstrap" in str(caught.value)) == (not named)
