"""An index with wheels of vLLM, and what pip's configuration makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contracts.release_server import wheel_bytes
from value_steer.contracts.sources import index, pip_config

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from value_steer.contracts.sources.pip_config import IndexSettings

NAME = "vllm-0.28.0-cp38-abi3-manylinux_2_28_x86_64.whl"
OTHER = "vllm-0.29.0-cp38-abi3-manylinux_2_28_x86_64.whl"
TEXT = "Requires-Dist: torch==2.13.0"
BODY = wheel_bytes({"vllm-0.28.0.dist-info/METADATA": TEXT})
FILES = {"vllm": {NAME: BODY, "vllm-0.28.0.tar.gz": b"x"}, "other": {"other-1.tar.gz": b"x"}}
SECRET = "s3cret"  # noqa: S105  (of a server in these tests)


def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> IndexSettings:
    """What pip makes of a configuration file."""
    (tmp_path / "pip.conf").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return pip_config.pip_settings()


def names(settings: IndexSettings) -> list[str]:
    """The wheels of vLLM that are found."""
    return [wheel.filename for wheel in index.project_wheels("vllm", settings)]
