"""Local package folders over loopback."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from compat.isolate import find_links

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index in a folder: pages below ``simple``, files beside it, and a secret."""
    (tmp_path / "index" / "simple" / "x").mkdir(parents=True)
    (tmp_path / "index" / "simple" / "x" / "index.html").write_text("page", encoding="utf-8")
    (tmp_path / "index" / "x-1+cpu-any.whl").write_text("wheel", encoding="utf-8")
    (tmp_path / "index" / "key.pem").write_text("secret", encoding="utf-8")
    (tmp_path / "outside.whl").write_text("secret", encoding="utf-8")
    return tmp_path / "index"


def get(address: str) -> str:
    """The body behind an address."""
    with urlopen(address, timeout=10) as response:  # noqa: S310  (our own server)
        return str(response.read().decode())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/0/", "x-1%2Bcpu-any.whl"),
        ("/0/x-1%2Bcpu-any.whl", "wheel"),
        ("/0/simple/x/", "page"),
        ("/0/simple/x", "page"),
    ],
)
def test_packages_and_pages_are_served(folder: Path, path: str, expected: str) -> None:
    """A listing, an index page (with or without the last slash) and a file can be fetched."""
    with find_links.serve({"0": folder}, port=0) as address:
        assert expected in get(address + path)


@pytest.mark.parametrize("path", ["/", "/1/", "/0/key.pem", "/0/../outside.whl", "/0/gone.whl"])
def test_nothing_else_is_served(folder: Path, path: str) -> None:
    """Files that are no packages, and files outside of the folders, do not exist for the build."""
    with find_links.serve({"0": folder}, port=0) as address:
        with pytest.raises(HTTPError) as caught:
            get(address + path)
        caught.value.close()

    assert caught.value.code == 404


def test_an_occupied_port_is_avoided(folder: Path) -> None:
    """The usual port keeps layers reusable, but nothing depends on it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with find_links.serve({"0": folder}, port=taken.getsockname()[1]) as address:
            assert get(f"{address}/0/simple/x/") == "page"
