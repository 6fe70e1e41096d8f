"""What a model's own configuration says of its width."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import tiny_models
from tests.nonsense import POINTER
from value_steer.cli.model import load_model, load_tokenizer, model_digest, read_model
from value_steer.errors import DataError
from value_steer.features.engine import prompt_tokens
from value_steer.features.records import Prompt

if TYPE_CHECKING:
    from collections.abc import Callable
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


@pytest.mark.parametrize("load", [load_tokenizer, load_model])
@pytest.mark.parametrize(
    "files",
    [
        {},
        {"config.json": b"{}"},
        {"config.json": b"\xff"},
        {"config.json": b'{"model_type": "mistral", "hidden_size": "8"}'},
        {"config.json": b'{"model_type": "mistral"}', "tokenizer.json": b"{}"},
        {"config.json": b'{"model_type": "mistral"}', "model.safetensors": POINTER},
        {"tokenizer_config.json": b"[]", "config.json": b'{"model_type": "mistral"}'},
    ],
)
def test_what_cannot_be_loaded_is_one_line(
    tmp_path: Path,
    files: dict[str, bytes],
    load: Callable[[Path], object],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever transformers makes of it, and it prints nothing itself."""
    for name, body in files.items():
        (tmp_path / name).write_bytes(body)

    with pytest.raises(DataError, match=r"cannot be loaded .*; give the folder") as found:
        load(tmp_path)
    assert "\n" not in str(found.value)
    assert capfd.readouterr() == ("", "")


def test_a_chat_needs_a_template(tmp_path: Path) -> None:
    """Base models have none, and say so themselves in other words."""
    plain = tiny_models.tokenizer()
    plain.chat_template = None
    plain.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}', encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)

    with pytest.raises(DataError, match=r"has no chat template; .*--raw"):
        prompt_tokens(tokenizer, Prompt("p", "w100"), chat=True)
    assert prompt_tokens(tokenizer, Prompt("p", "w100"), chat=False)
