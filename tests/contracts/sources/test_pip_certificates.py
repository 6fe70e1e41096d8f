"""Whom an index is trusted by, and what a client shows it, as pip has it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import certifi
import pytest

from tests.contracts.index_server import Index, indexing
from tests.contracts.sources.pip_index import FILES, NAME, names
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key with a certificate for ``localhost`` that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    key, made, both = folder / "key", folder / "made", folder / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + made.read_bytes())
    return both


@pytest.fixture
def secured(certificate: Path) -> ssl.SSLContext:
    """With which a server shows it, and wants to see it of clients that have one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    return context


@pytest.mark.parametrize("variable", [None, "REQUESTS_CA_BUNDLE"])
def test_a_stranger_is_not_trusted_unless_told(
    variable: str | None,
    secured: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a bundle or by name, which come before a variable; and no other host is trusted for it."""
    if variable is not None:
        monkeypatch.setenv(variable, certifi.where())
    with indexing(Index(FILES), secured) as served:
        for trusted in ((), ("elsewhere",)):
            with pytest.raises(ContractError, match="SSLError"):
                names(IndexSettings(served.address, trusted_hosts=trusted, retries=0))
        assert names(IndexSettings(served.address, certificates=str(certificate))) == [NAME]
        assert names(IndexSettings(served.address, trusted_hosts=("localhost",))) == [NAME]


def test_what_the_machine_trusts_is_trusted(
    secured: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip does, which asks the system's store."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with indexing(Index(FILES), secured) as served:
        assert names(IndexSettings(served.address)) == [NAME]


def test_a_client_shows_its_certificate(secured: ssl.SSLContext, certificate: Path) -> None:
    """Where the server wants one."""
    secured.verify_mode = ssl.CERT_REQUIRED
    with indexing(Index(FILES), secured) as served:
        settings = IndexSettings(served.address, certificates=str(certificate), retries=0)
        with pytest.raises(ContractError):
            names(settings)
        shown = replace(settings, client_certificate=str(certificate))
        assert names(shown) == [NAME]
