"""What is taken from an index page, and from pip's configuration."""

from __future__ import annotations

import pytest
from packaging.version import Version
from pypi_simple import ProjectPage

from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.sources.index import for_reading, from_packages
from value_steer.contracts.sources.pip_config import IndexSettings
from value_steer.errors import ContractError

X86, ARM = "manylinux_2_28_x86_64", "manylinux_2_28_aarch64"


def page(*names: str, yanked: tuple[str, ...] = ()) -> ProjectPage:
    """An index page with these files."""
    files = [
        {
            "filename": name,
            "url": name,
            "hashes": {"sha256": f"{number:064x}"},
            "yanked": name in yanked,
        }
        for number, name in enumerate(names)
    ]
    body = {"meta": {"api-version": "1.1"}, "name": "vllm", "files": files, "versions": []}
    return ProjectPage.from_json_data(body)


def test_only_wheels_are_taken() -> None:
    """Sources and misnamed files are no wheels; build numbers and four parts are understood."""
    names = [
        f"vllm-0.20.1-1-cp38-abi3-{X86}.whl",
        f"vllm-0.28.0.1.post2-cp38-abi3-{ARM}.whl",
        "vllm-0.28.0.tar.gz",
        "vllm-odd.whl",
    ]
    found = from_packages(page(*names).packages)

    assert [(str(w.version), w.build, w.platform) for w in found] == [
        ("0.20.1", 1, X86),
        ("0.28.0.1.post2", 0, ARM),
    ]


def test_one_wheel_speaks_for_a_release() -> None:
    """The highest build for x86_64; yanked builds and pre-releases do not count."""
    names = [
        f"vllm-0.20.1-2-cp38-abi3-{X86}.whl",
        f"vllm-0.20.1-1-cp38-abi3-{X86}.whl",
        f"vllm-0.20.1-cp38-abi3-{X86}.whl",
        f"vllm-0.20.1-9-cp38-abi3-{ARM}.whl",
        f"vllm-0.9.0-cp38-abi3-{ARM}.whl",
        f"vllm-0.21.0rc1-cp38-abi3-{X86}.whl",
        f"vllm-0.22.0-cp38-abi3-{X86}.whl",
    ]
    found = for_reading(from_packages(page(*names, yanked=(names[0], names[6])).packages))

    assert [wheel.filename for wheel in found] == [names[4], names[1]]
    assert found[-1].version == Version("0.20.1")


def test_a_build_of_a_release_is_none_of_its_own() -> None:
    """A mirror's flavour speaks for its release where nothing else does; Linux comes first."""
    names = [
        f"vllm-0.20.0+cu129-cp38-abi3-{X86}.whl",
        f"vllm-0.20.0-cp38-abi3-{X86}.whl",
        "vllm-0.20.0-cp38-abi3-macosx_11_0_x86_64.whl",
        f"vllm-0.21.0+cu129-cp38-abi3-{X86}.whl",
        "vllm-0.21.0-cp38-abi3-win_amd64.whl",
    ]
    found = for_reading(from_packages(page(*names).packages))

    assert [wheel.filename for wheel in found] == [names[1], names[3]]
    assert [str(wheel.version) for wheel in found] == ["0.20.0", "0.21.0"]


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        ([], IndexSettings()),
        (["global.index-url='somewhere'", "global.cert='/ca'"], IndexSettings("somewhere", "/ca")),
        ([":env:.index-url='env'", "global.index-url='file'"], IndexSettings("env")),
        (["download.index-url='other'", ""], IndexSettings()),
    ],
)
def test_the_index_is_the_one_of_pip(lines: list[str], settings: IndexSettings) -> None:
    """Later sections of pip's configuration win; other commands' sections do not count."""
    assert pip_config.parse_settings(lines) == settings


def test_a_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the message has the command that installs it."""
    monkeypatch.setattr(index, "find_spec", lambda _: None)
    with pytest.raises(ContractError, match=r"pip install 'value-steer\[index\]'"):
        index.require_libraries()
