"""The machine's pip configuration inside an image build."""

from __future__ import annotations

from pathlib import Path

import pytest

from compat.errors import InfraError
from compat.isolate import pip_settings


def test_the_environment_overrides_files() -> None:
    """The order of pip holds: global, then install, then PIP_ variables."""
    listing = (
        ":env:.find-links='/c'\nglobal.find-links='/a'\ninstall.find-links='/b'\n"
        "global.index-url='https://index.example/simple'\nfreeze.timeout='1'\n"
    )

    settings = pip_settings.parse(listing, {})

    assert settings.values == {
        "index-url": ("https://index.example/simple",),
        "find-links": ("/c",),
    }


def test_local_places_are_read_from_the_loopback_address(tmp_path: Path) -> None:
    """Folders are served, file indexes with the files beside them; what is missing is dropped."""
    links, index, page = tmp_path / "links", tmp_path / "i" / "simple", tmp_path / "p" / "l.html"
    for folder in (links, index, page.parent):
        folder.mkdir(parents=True)
    page.touch()
    listing = (
        "global.index-url='https://index.example/simple'\n"
        f"global.extra-index-url='file://{index} file:///nonexistent/simple'\n"
        f"global.find-links='{links}\\n/nonexistent {page} https://links.example/'\n"
        "global.trusted-host='links.example'\nglobal.cert='/nonexistent.pem'\n"
    )

    settings = pip_settings.parse(listing, {})

    assert settings.local_folders() == {"0": index.parent, "1": links, "2": page.parent}
    assert settings.render("http://127.0.0.1:1") == (
        "[global]\ndisable-pip-version-check = true\n"
        "index-url =\n    https://index.example/simple\n"
        "extra-index-url =\n    http://127.0.0.1:1/0/simple\n"
        "find-links =\n    http://127.0.0.1:1/1/\n    http://127.0.0.1:1/2/l.html\n"
        "    https://links.example/\n"
        "trusted-host =\n    links.example\n"
    )


@pytest.mark.parametrize(
    ("configured", "variables", "expected"),
    [
        ("a.pem", {}, "a.pem"),
        ("a.pem", {"SSL_CERT_FILE": "b.pem"}, "a.pem"),
        ("gone.pem", {"SSL_CERT_FILE": "gone.pem", "REQUESTS_CA_BUNDLE": "b.pem"}, "b.pem"),
        (None, {}, None),
    ],
)
def test_the_first_bundle_that_exists_is_trusted(
    tmp_path: Path, configured: str | None, variables: dict[str, str], expected: str | None
) -> None:
    """The setting of pip comes first, then the variables that other tools honour."""
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).touch()
    listing = f"global.cert='{tmp_path / configured}'\n" if configured else ""
    environ = {name: str(tmp_path / value) for name, value in variables.items()}

    settings = pip_settings.parse(listing, environ)

    assert settings.cert == (tmp_path / expected if expected else None)
    assert (pip_settings.CERT_INSIDE in settings.render("http://x")) == (expected is not None)


@pytest.mark.parametrize(
    "line", ["global.timeout", "global.timeout=five", "global.timeout='", "global.timeout='five'"]
)
def test_unknown_output_of_pip_is_an_error(line: str) -> None:
    """A line that is no setting is not skipped: the build would look elsewhere for packages."""
    with pytest.raises(InfraError, match=r"pip config list|pip config unset"):
        pip_settings.parse(line, {})


def test_settings_are_read_from_pip_itself(tmp_path: Path) -> None:
    """A configuration file that pip honours reaches the settings."""
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nfind-links = {tmp_path}\n", encoding="utf-8")

    settings = pip_settings.read({"PIP_CONFIG_FILE": str(config), "HOME": str(tmp_path)})

    assert Path(settings.values["find-links"][0]) == tmp_path


def test_the_proxy_does_not_stand_before_this_machine() -> None:
    """Folders are served on the loopback address; pip's option would ask the proxy for them."""
    settings = pip_settings.parse("global.proxy='http://proxy.example:3128'\n", {})

    assert "proxy" not in settings.render("http://127.0.0.1:1")
    assert settings.proxy_variables() == {
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NO_PROXY": "127.0.0.1",
    }
    assert pip_settings.parse("", {}).proxy_variables() == {}


def test_files_of_this_machine_stay_here() -> None:
    """No private key goes into an image, and a lock leaves nothing to constrain."""
    listing = "global.client-cert='/me.pem'\ninstall.constraint='/c.txt'\n"
    settings = pip_settings.parse(listing, {})

    assert settings.values == {"constraint": ("/c.txt",), "client-cert": ("/me.pem",)}
    assert "/me.pem" not in settings.render("x")
    assert "/c.txt" not in settings.render("x")


def test_a_certificate_whose_name_no_file_can_have_is_none() -> None:
    """As one that is not there; so is a folder of links."""
    name = "9" * 5000

    assert pip_settings.parse(f"global.cert='/{name}'\n", {}).cert is None
    assert pip_settings._root(Path(f"/{name}")) == Path(f"/{name}")
