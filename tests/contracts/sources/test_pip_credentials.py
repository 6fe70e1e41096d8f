"""Names and passwords for an index: from its address, .netrc, or the keyring, as pip has them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.contracts.index_server import Index, indexing
from tests.contracts.sources.pip_index import FILES, NAME, SECRET, TEXT, configured, names
from value_steer.contracts.sources import credentials, index
from value_steer.contracts.sources.pip_config import IndexSettings, parse_settings
from value_steer.contracts.sources.wheel import WheelTree
from value_steer.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("alone")


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
