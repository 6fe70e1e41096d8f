"""Whether an engine records, and what the first line of its file says of its heads."""

from __future__ import annotations

import json
import os
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from value_steer.config import parse_settings
from value_steer.engine.scheduling import recording
from value_steer.engine.scheduling.recording import check_directory
from value_steer.errors import SettingsError
from value_steer.value_probe import (
    HeadCard,
    Polarity,
    SettingsFingerprint,
    ValueHead,
    load_value_head,
    save_value_head,
)
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from pathlib import Path


def _settings(tmp_path: Path, **record: object) -> Any:
    head = ValueHead(4)
    cards = {"good": Polarity.P_GOOD, "bad": None, "opposite": Polarity.P_UNDESIRABLE}
    for name, scores in cards.items():
        torch.manual_seed(len(name))
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter)
        card = HeadCard(hidden_size=4, scores=scores)
        save_value_head(tmp_path / f"{name}.pt", head, card)
    at = {
        name: {"value_head_path": str(tmp_path / f"{name}.pt"), "threshold": 0.5} for name in cards
    }
    abstain: dict[str, object] = {**at["good"], "min_tokens": 0, "patience": 3}
    abstain |= {
        "scores": "p_undesirable",
        "heads": {name: at[name] for name in ("bad", "opposite")},
    }
    vfd: dict[str, object] = {**at["bad"]}
    return {"abstain": abstain, "vfd": vfd, "record": {"directory": str(tmp_path), **record}}


def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That of an engine whose host is not here."""
    host = SimpleNamespace(fingerprint=lambda model: SettingsFingerprint(model=model))
    monkeypatch.setitem(sys.modules, "value_steer.engine.host", host)
    return SimpleNamespace(
        additional_config=_settings(tmp_path, share=0.5),
        instance_id="ab12c",
        model_config="the model",
    )


def _header(path: Path) -> dict[str, Any]:
    (line,) = path.read_bytes().splitlines()
    header: dict[str, Any] = json.loads(line)
    return header


def test_the_first_line_says_which_heads_spoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by the weights of its file, and what it was taken to score: the operator knows best."""
    config = _config(tmp_path, monkeypatch)

    assert recording.open_recorder(config) is not None

    header = _header(tmp_path / f"ab12c-{os.getpid()}.jsonl")
    good, bad, opposite = (
        weights_digest(load_value_head(tmp_path / f"{name}.pt"))
        for name in ("good", "bad", "opposite")
    )
    assert (header["share"], header["settings"]["model"]) == (0.5, "the model")
    told = [tuple(head.values()) for head in header["heads"]]
    assert told == [
        ("abstain", "", good, "p_undesirable", 0, 3),
        ("abstain", "bad", bad, "p_good", 0, 3),
        ("abstain", "opposite", opposite, "p_undesirable", 0, 3),
        ("vfd", "", bad, "p_undesirable", 1, 1),
    ]


@pytest.mark.parametrize(
    ("off", "missing", "heads"),
    [
        (("abstain",), False, 1),
        (("abstain",), True, 1),
        (("vfd",), False, 3),
        (("vfd",), True, 3),
        (("abstain", "vfd"), False, 0),
    ],
)
def test_only_heads_that_speak_are_in_the_first_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    off: tuple[str, ...],
    heads: int,
    *,
    missing: bool,
) -> None:
    """Not those of a mode that is turned off, or not there; without any nothing is recorded."""
    config = _config(tmp_path, monkeypatch)
    for mode in off:
        if missing:
            del config.additional_config[mode]
        else:
            config.additional_config[mode]["enabled"] = False
    path = tmp_path / f"ab12c-{os.getpid()}.jsonl"

    assert (recording.open_recorder(config) is None) is (heads == 0)
    assert path.exists() is (heads > 0)
    assert not heads or len(_header(path)["heads"]) == heads


def test_an_engine_records_only_what_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's own configuration has no such section."""
    config = _config(tmp_path, monkeypatch)
    del config.additional_config["record"]

    assert recording.open_recorder(config) is None
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("kind", ["missing", "file", "read-only"])
def test_a_folder_that_cannot_be_used_is_named(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the model is loaded."""
    folder = tmp_path / "traffic"
    if kind == "file":
        folder.touch()
    if kind == "read-only":
        folder.mkdir()
        refuses = "cannot write to it (Read-only file system)"
        monkeypatch.setattr(
            recording, "unwritable", lambda path: refuses if path == folder else None
        )
    settings = parse_settings(
        {"abstain": {"value_head_path": "x"}, "record": {"directory": str(folder), "share": 1}}
    )
    assert settings.record is not None

    with pytest.raises(SettingsError, match=r"record\.directory = .*traffic: "):
        check_directory(settings.record)
