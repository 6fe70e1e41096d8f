"""An index is asked as pip, with this configuration, would ask it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.contracts.index_server import Index, indexing, proxying
from tests.contracts.sources.pip_index import (
    BODY,
    FILES,
    NAME,
    OTHER,
    SECRET,
    TEXT,
    configured,
    names,
)
from value_steer.contracts.sources import index
from value_steer.contracts.sources.pip_config import IndexSettings, parse_settings, pip_settings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("alone")


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


def test_the_file_that_pip_puts_first_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user's over the machine's, whatever the order of their names, which pip lists them in."""
    monkeypatch.delenv("PIP_CONFIG_FILE")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "z"))
    for folder, index_url in (("a/.config", "http://user.invalid/"), ("z", "http://all.invalid/")):
        file = tmp_path / folder / "pip" / "pip.conf"
        file.parent.mkdir(parents=True)
        file.write_text(f"[global]\nindex-url = {index_url}\n", encoding="utf-8")

    assert pip_settings().address == "http://user.invalid/"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PIP_INDEX_URL", "[global]\nindex-url = http://own.invalid/\n"),
        ("PIP_PROXY", "[global]\nindex-url = http://own.invalid/\n[install]\nindex-url =\n"),
    ],
)
def test_what_is_set_to_nothing_is_not_set(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As for pip: the index of a file stays, where the public one would be asked instead."""
    monkeypatch.setenv(variable, "")
    settings = configured(monkeypatch, tmp_path, text)

    assert (settings.address, settings.proxy) == ("http://own.invalid/", None)


def test_an_option_has_another_name_too() -> None:
    """As for pip."""
    assert parse_settings([":env:.pypi-url='http://own.invalid/'"]).address == "http://own.invalid/"


@pytest.mark.parametrize("line", [":env:.no-index='treu'", "global.no-proxy-env='2'"])
def test_a_flag_that_is_none_is_named(line: str) -> None:
    """Pip refuses it too; taken for off, it would let a network be asked."""
    with pytest.raises(ContractError, match="neither true nor false"):
        parse_settings([line])


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
