"""What a model's own configuration says of its width."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from value_steer.cli.model import model_digest, read_model
from value_steer.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"hidden_size": 8}, 8),
        ({"n_embd": 768, "architectures": None}, 768),
        ({"d_model": 512}, 512),
        ({"text_config": {"hidden_size": 64}, "vision_config": {"hidden_size": 9}}, 64),
        ({"hidden_size": 8, "d_model": 9}, 8),
    ],
)
def test_the_width_is_read_under_any_of_its_names(
    tmp_path: Path, config: dict[str, object], size: int
) -> None:
    """GPT-2 and MPT have their own."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    assert read_model(tmp_path).hidden_size == size


@pytest.mark.parametrize(
    "config", [[], {}, {"hidden_size": "8"}, {"n_embd": True}, {"d_model": -1}]
)
def test_a_width_that_is_none_is_refused(tmp_path: Path, config: object) -> None:
    """The names that would do are listed."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(DataError, match="hidden_size, n_embd, d_model"):
        read_model(tmp_path)


def test_weights_are_told_apart_where_they_are_sampled(tmp_path: Path) -> None:
    """Up to 4 MiB by every byte; beyond, what differs only between two samples is not seen."""
    weights = tmp_path / "model.safetensors"

    def digest(size: int, changed: int) -> str:
        body = bytearray(size)
        body[changed] = 1
        weights.write_bytes(body)
        return model_digest(tmp_path)

    small, large = 4 << 20, 16 << 20
    assert digest(small, small // 2 + 7) != digest(small, small // 2 + 8)
    assert digest(large, 7) != digest(large, 8)
    assert digest(large, large - 1) != digest(large, large - 2)
    assert digest(large, 100_000) == digest(large, 100_001)
