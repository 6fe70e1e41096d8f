"""An index is asked as pip, with this configuration, would ask it."""

from __future__ import annotations

import logging
import os
import shutil
import ssl
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import certifi
import pytest

from tests.contracts.index_server import Index, indexing, proxying
from tests.contracts.release_server import wheel_bytes
from value_steer.contracts.sources import credentials, index, pip_config
from value_steer.contracts.sources.pip_config import IndexSettings, parse_settings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "vllm-0.28.0-cp38-abi3-manylinux_2_28_x86_64.whl"
OTHER = "vllm-0.29.0-cp38-abi3-manylinux_2_28_x86_64.whl"
TEXT = "Requires-Dist: torch==2.13.0"
BODY = wheel_bytes({"vllm-0.28.0.dist-info/METADATA": TEXT})
FILES = {"vllm": {NAME: BODY, "vllm-0.28.0.tar.gz": b"x"}, "other": {"other-1.tar.gz": b"x"}}
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
SECRET = "s3cret"  # noqa: S105  (of a server in this file)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing of this machine's configuration, and no session of an earlier test."""
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy") or name in BUNDLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("HOME", str(tmp_path))
    index.shared_session.cache_clear()
    yield
    index.shared_session.cache_clear()


def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> IndexSettings:
    """What pip makes of a configuration file."""
    (tmp_path / "pip.conf").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return pip_config.pip_settings()


def names(settings: IndexSettings) -> list[str]:
    """The wheels of vLLM that are found."""
    return [wheel.filename for wheel in index.project_wheels("vllm", settings)]


@pytest.mark.parametrize("html", [False, True])
def test_both_kinds_of_pages_are_read(
    html: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """PEP 503 and PEP 691; the wheel behind the link is read as well."""
    with indexing(Index(FILES, html=html)) as served:
        settings = configured(monkeypatch, tmp_path, f"[global]\nindex-url = {served.address}\n")
        (wheel,) = index.project_wheels("vllm", settings)

        assert wheel.filename == NAME
        assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT


def test_the_proxy_of_pip_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host of the index is known to the proxy alone."""
    with indexing(Index(FILES)) as served, proxying(served.address) as (proxy, asked):
        text = f"[install]\nindex-url = http://index.invalid/simple/\nproxy = {proxy}\n"
        settings = configured(monkeypatch, tmp_path, text)
        (wheel,) = index.project_wheels("vllm", settings)

        assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT
    assert asked[0] == "http://index.invalid/simple/vllm/"
    assert f"http://index.invalid/files/vllm/{NAME}" in asked


def test_an_empty_proxy_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says; pip means the same by it."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with indexing(Index(FILES)) as served:
        with pytest.raises(ContractError, match="ProxyError"):
            names(IndexSettings(served.address, retries=0))
        assert names(IndexSettings(served.address, proxy="")) == [NAME]


def test_variables_win_over_sections_and_sections_over_global(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As for ``pip install``; what other commands are told does not count."""
    text = (
        "[global]\nindex-url = http://global.invalid/\ntimeout = 1\nretries = 2\n"
        "[install]\nindex-url = http://install.invalid/\ntrusted-host = a b:1\n"
        "[download]\nindex-url = http://download.invalid/\nno-index = true\n"
    )
    monkeypatch.setenv("PIP_TIMEOUT", "7.5")
    settings = configured(monkeypatch, tmp_path, text)

    assert settings.address == "http://install.invalid/"
    assert (settings.timeout, settings.retries, settings.no_index) == (7.5, 2, False)
    assert settings.trusted_hosts == ("a", "b:1")


def test_further_indexes_are_asked_and_a_silent_one_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that names its host; pip goes on as well."""
    second = Index({"vllm": {OTHER: BODY, NAME: b"another"}})
    with indexing(Index(FILES)) as first, indexing(second), caplog.at_level(logging.WARNING):
        text = (
            f"[global]\nindex-url = {first.address}\nretries = 0\n"
            f"extra-index-url =\n    http://user:{SECRET}@silent.invalid/simple\n"
            f"    {second.address}\n"
        )
        settings = configured(monkeypatch, tmp_path, text)
        found = index.project_wheels("vllm", settings)

    assert [wheel.filename for wheel in found] == [NAME, OTHER]
    assert found[0].url.startswith(first.address.removesuffix("simple/"))
    assert "silent.invalid" in caplog.text
    assert SECRET not in caplog.text


def test_without_any_answer_every_place_is_named() -> None:
    """And no credentials are."""
    address = f"http://user:{SECRET}@silent.invalid/simple"
    settings = IndexSettings(address, more=("http://mute.invalid/",), retries=0)

    with pytest.raises(ContractError, match=r"//silent\.invalid/.*//mute\.invalid/") as found:
        names(settings)
    assert SECRET not in str(found.value)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("kind", ["folder", "address", "page"])
def test_without_an_index_links_are_followed(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A folder, or a page without hashes; nothing else is asked."""
    links = tmp_path / "links"
    links.mkdir()
    for name in (NAME, "other-1-py3-none-any.whl", "vllm-0.28.0.tar.gz"):
        (links / name).write_bytes(BODY)
    (links / "page.html").write_text(f'<a href="{NAME}">it</a>', encoding="utf-8")
    place = {"folder": links, "address": links.as_uri(), "page": links / "page.html"}[kind]
    with indexing(Index(FILES)) as served:
        text = f"[global]\nno-index = yes\nfind-links = {place}\nindex-url = {served.address}\n"
        settings = configured(monkeypatch, tmp_path, text)
        (wheel,) = index.project_wheels("vllm", settings)

        assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT
    assert served.asked == []


def test_a_page_of_links_on_a_server(tmp_path: Path) -> None:
    """It lists the files of many projects."""
    with indexing(Index(FILES, html=True)) as served:
        settings = IndexSettings(no_index=True, find_links=(f"{served.address}vllm",))
        (wheel,) = index.project_wheels("vllm", settings)

        assert WheelTree(wheel, settings, tmp_path).metadata() == TEXT


def test_no_index_and_no_links_is_told() -> None:
    """With the option that is missing."""
    with pytest.raises(ContractError, match="check pip's find-links, as no-index is set"):
        names(IndexSettings(no_index=True))


def test_an_index_in_a_folder_is_read(tmp_path: Path) -> None:
    """As pip reads one behind ``file:``."""
    (tmp_path / "simple" / "vllm").mkdir(parents=True)
    (tmp_path / NAME).write_bytes(BODY)
    page = tmp_path / "simple" / "vllm" / "index.html"
    page.write_text(f'<a href="../../{NAME}">it</a>', encoding="utf-8")
    settings = IndexSettings((tmp_path / "simple").as_uri())

    (wheel,) = index.project_wheels("vllm", settings)
    assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT


@pytest.mark.parametrize("where", ["address", "netrc"])
def test_credentials_are_sent_and_never_shown(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of an address also for the files of its host, which links name without them."""
    with indexing(Index(FILES, user=("me", f"{SECRET}@1"))) as served:
        address = served.address
        if where == "address":
            address = address.replace("://", f"://me:{SECRET}%401@")
        else:
            netrc = tmp_path / "netrc"
            netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}@1", encoding="utf-8")
            monkeypatch.setenv("NETRC", str(netrc))
        settings = IndexSettings(address)
        (wheel,) = index.project_wheels("vllm", settings)

        assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT
        assert SECRET not in repr((settings, wheel))
        served.user = ("someone", "else")
        with pytest.raises(ContractError) as found:
            WheelTree(wheel, settings, tmp_path / "none").metadata()
        assert SECRET not in str(found.value)


_KEYRING = """\
#!{python}
import json, pathlib, sys
pathlib.Path({asked!r}).open("a").write(" ".join(sys.argv[1:]) + chr(10))
print({answer})
"""


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """A program of that name which answers what it is given to say, and notes its arguments."""
    credentials.kept.cache_clear()
    monkeypatch.setitem(sys.modules, "keyring", None)  # whatever is installed here
    asked, program = tmp_path / "asked", tmp_path / "bin" / "keyring"
    program.parent.mkdir()
    asked.touch()

    def say(answer: str) -> Path:
        text = _KEYRING.format(python=sys.executable, asked=str(asked), answer=answer)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
        return asked

    return say


_LOGIN = f"""json.dumps({{"username": "me", "password": "{SECRET}"}})"""


@pytest.mark.parametrize("name", ["", "me@"])
def test_a_host_that_refuses_is_asked_with_the_keyrings_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keyring: Callable[[str], Path], name: str
) -> None:
    """It is looked up once, under the address of the index and the name that it states."""
    asked = keyring(_LOGIN)
    with indexing(Index(FILES, user=("me", SECRET))) as served:
        address = served.address.replace("http://", f"http://{name}")
        settings = configured(
            monkeypatch, tmp_path, f"[global]\nindex-url = {address}\nkeyring-provider=subprocess"
        )
        assert names(settings) == [NAME]
        (wheel,) = index.project_wheels("vllm", settings)
        assert WheelTree(wheel, settings, tmp_path / "cache").metadata() == TEXT

    (line,) = asked.read_text(encoding="utf-8").splitlines()
    assert line.split()[:3] == ["--mode=creds", "--output=json", "get"]
    assert line.split()[3:] == [served.address, *(["me"] if name else [])]


@pytest.mark.parametrize(
    "option", ["keyring-provider = disabled", "no-input = true", "keyring-provider = import"]
)
def test_a_keyring_that_pip_would_not_ask_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keyring: Callable[[str], Path], option: str
) -> None:
    """The refusal of the host is what is told."""
    asked = keyring(_LOGIN)
    with indexing(Index(FILES, user=("me", SECRET))) as served:
        settings = configured(
            monkeypatch, tmp_path, f"[global]\nindex-url = {served.address}\n{option}"
        )
        with pytest.raises(ContractError, match="401"):
            names(settings)

    assert asked.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("answer", ["'no json'", "'[1]'", "'{}'", "exit(3)", "'{\"username\": 1}'"])
def test_a_keyring_that_answers_nonsense_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keyring: Callable[[str], Path], answer: str
) -> None:
    """One error, which is that of the host."""
    keyring(answer)
    with indexing(Index(FILES, user=("me", SECRET))) as served:
        text = f"[global]\nindex-url = {served.address}\nkeyring-provider = subprocess"
        with pytest.raises(ContractError, match="401"):
            names(configured(monkeypatch, tmp_path, text))


def test_a_wrong_password_of_the_keyring_is_tried_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keyring: Callable[[str], Path]
) -> None:
    """A host that refuses it as well is not asked for ever."""
    keyring(_LOGIN)
    with indexing(Index(FILES, user=("me", "another"))) as served:
        text = f"[global]\nindex-url = {served.address}\nkeyring-provider = subprocess"
        with pytest.raises(ContractError, match="401"):
            names(configured(monkeypatch, tmp_path, text))
        assert len(served.asked) == 2


def test_an_unknown_keyring_is_told() -> None:
    """With those that are known; a newer pip may take more."""
    with pytest.raises(ContractError, match="keyring-provider is 'chain', none of auto, disabled"):
        parse_settings(["global.keyring-provider='chain'"])


def test_the_variables_name_no_proxy_where_pip_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with pip's option no-proxy-env; without it the proxy would be asked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with indexing(Index(FILES)) as served:
        text = f"[global]\nindex-url = {served.address}\nretries = 0\n"
        with pytest.raises(ContractError):
            names(configured(monkeypatch, tmp_path, text))
        assert names(configured(monkeypatch, tmp_path, f"{text}no-proxy-env = true")) == [NAME]


def test_a_page_that_is_none_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Alone it is an error, beside another index a warning."""
    broken = Index(FILES, broken=("vllm",))
    with indexing(broken), indexing(Index(FILES)) as good:
        with pytest.raises(ContractError, match="JSONDecodeError"):
            names(IndexSettings(broken.address))
        assert names(IndexSettings(broken.address, more=(good.address,))) == [NAME]
    assert "some wheels of vllm may be missing: http://127.0.0.1" in caplog.text


def test_certificates_and_trust_reach_the_session() -> None:
    """They are tried on no server here."""
    settings = IndexSettings(
        certificates="ca.pem", client_certificate="me.pem", trusted_hosts=("h", "i:8"), timeout=3
    )
    session = index.shared_session(settings)

    assert (session.verify, session.cert) == ("ca.pem", "me.pem")
    trusting = {prefix for prefix, one in session.adapters.items() if "Trusting" in repr(one)}
    assert trusting == {"https://h/", "https://h:", "https://i:8/"}


@pytest.mark.parametrize(
    "line",
    [
        "global.timeout='soon'",
        "install.retries='many'",
        "global.retries='1e400'",
        "global.retries='-1'",
        "global.timeout='nan'",
        "global.timeout='inf'",
    ],
)
def test_a_number_that_is_none_is_named(line: str) -> None:
    """Pip refuses it too."""
    with pytest.raises(ContractError, match="is no number"):
        parse_settings([line])


def test_a_line_that_cannot_be_read_is_shown_without_credentials() -> None:
    """It may be an address."""
    with pytest.raises(ContractError) as found:
        parse_settings([f"global.index-url=https://me:{SECRET}@host/"])
    assert SECRET not in str(found.value)
    assert "****@host" in str(found.value)


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
