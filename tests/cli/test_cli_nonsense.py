"""Every option of every subcommand, given every kind of nonsense."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from compat.behaviour import tiny_models
from tests.evaluation.traces import exact, written
from tests.features.samples import HIDDEN, features
from tests.nonsense import command_line, ended_in_time, menu, options, values
from tests.recalibration.recordings import many, write
from value_steer import cli
from value_steer.cli.arguments.types import PATH, PATTERN, TEXT
from value_steer.cli.parser import SUBCOMMANDS, build
from value_steer.cli.places import Use
from value_steer.features import CacheSpec, FeatureCache
from value_steer.value_probe import HeadCard, Polarity, ValueHead, save_value_head

if TYPE_CHECKING:
    import argparse

PARSERS = menu(build())
PLACES = {subcommand.name: subcommand.places for subcommand in SUBCOMMANDS}
DECODE = {
    "--decode": "prompts.jsonl",
    "--model": "model",
    "--head": "head.safetensors",
    "--unsafe": "x",
    "--threshold": "0.5",
    "--out": "report",
}
GOOD: list[tuple[str, dict[str, str]]] = [
    (
        "capture",
        {
            "prompts": "prompts.jsonl",
            "--model": "model",
            "--engine": "transformers",
            "--dtype": "float32",
            "--max-tokens": "1",
            "--out": "captured",
        },
    ),
    ("label", {"features": "features", "--by": "regex", "--pattern": "x", "--name": "again"}),
    ("label", {"features": "features", "--by": "column", "--file": "labels.jsonl"}),
    (
        "train",
        {
            "features": "features",
            "--labels": "given",
            "--recipe": "abstention",
            "--epochs": "1",
            "--out": "trained.safetensors",
        },
    ),
    ("convert", {"file": "head.pt", "--activation": "tanh-relu", "--out": "converted.safetensors"}),
    ("calibrate", {"trajectories": "t.jsonl", "--head": "good.safetensors"}),
    (
        "calibrate",
        {"--features": "features", "--labels": "given", "--head": "trained.pt"},
    ),
    ("recalibrate", {"traffic": "traffic", "--head": "good.safetensors"}),
    (
        "recalibrate",
        {
            "traffic": "traffic",
            "--head": "good.safetensors",
            "--labels": "of-traffic.jsonl",
            "--out": "of-traffic.trajectories.jsonl",
            "--min-tokens": "2",
            "--patience": "1",
        },
    ),
    ("evaluate", {"--trajectories": "t.jsonl", "--out": "report"}),
    ("evaluate", {"--generations": "g.jsonl", "--out": "report"}),
    ("evaluate", DECODE),
    ("demo", {"--out": "demo"}),
    ("doctor", {"--head": "head.safetensors", "--model": "model"}),
]
"""Commands that work, each a way to use its subcommand."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that good commands need."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=tiny_models.VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        eos_token_id=tiny_models.EOS,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / "model")
    tokenizer = tiny_models.tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder / "model")
    (folder / "prompts.jsonl").write_text('{"prompt": "w100"}\n', encoding="utf-8")
    cache = FeatureCache.create(folder / "features", CacheSpec(HIDDEN))
    cache.add([features(f"p{i}") for i in range(24)])
    rows = [{"prompt_id": f"p{i}", "sample": 0, "label": float(i % 2)} for i in range(24)]
    lines = "\n".join(map(json.dumps, rows))
    (folder / "labels.jsonl").write_text(lines, encoding="utf-8")
    told = {"policy": "base", "prompt_id": "a", "tokens": [1], "unsafe": False}
    (folder / "g.jsonl").write_text(json.dumps(told), encoding="utf-8")
    for name, scores in (
        ("head.safetensors", Polarity.P_UNDESIRABLE),
        ("head.pt", Polarity.P_UNDESIRABLE),
        ("good.safetensors", Polarity.P_GOOD),
    ):
        save_value_head(folder / name, ValueHead(HIDDEN), HeadCard(HIDDEN, scores=scores))
    written(folder / "t.jsonl", exact(40))
    heads, answers, goods = many(folder / "good.safetensors", 40, seed=1)
    write(folder / "traffic" / "a.jsonl", heads, answers)
    labels = "\n".join(json.dumps({"id": name, "label": good}) for name, good in goods.items())
    (folder / "of-traffic.jsonl").write_text(labels, encoding="utf-8")
    labelled = ["label", str(folder / "features"), "--by", "column", "--name", "given"]
    assert cli.main([*labelled, "--file", str(folder / "labels.jsonl")]) == 0
    trained = ["train", str(folder / "features"), "--labels", "given", "--recipe", "abstention"]
    assert cli.main([*trained, "--epochs", "1", "--out", str(folder / "trained.pt")]) == 0
    return folder


@pytest.fixture
def ready(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of that folder, with the work that takes long left out."""
    from value_steer.cli import (  # noqa: PLC0415  (patched where they are)
        decoding,
        demo,
        doctor,
        evaluate,
    )

    def nothing(*_: Any, **__: Any) -> None:
        return None

    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "nonsense").mkdir()
    monkeypatch.chdir(tmp_path)
    for module, name in (
        (demo, "run_demo"),
        (demo, "show"),
        (evaluate, "evaluate_abstention"),
        (evaluate, "evaluate_steering"),
    ):
        monkeypatch.setattr(module, name, nothing)
    # Without a vLLM, serving would not work here, which is what it says.
    monkeypatch.setattr(doctor, "serving", lambda *_: iter(()))
    monkeypatch.setattr(decoding, "generate", lambda *_: iter(()))
    report = type("Report", (), {"html": "report.html"})
    monkeypatch.setattr(evaluate, "write_report", lambda *_: report)


def status(arguments: list[str]) -> int:
    """What the command says to the shell; its parser leaves by an exception."""
    try:
        return int(cli.main(arguments))
    except SystemExit as stopped:
        assert isinstance(stopped.code, int)  # noqa: PT017  (a message would be a traceback's)
        return stopped.code


def may_be_fine(action: argparse.Action, command: str, kind: str) -> bool:
    """Whether a value that looks odd is what an option of this type may have."""
    name = (action.option_strings or [action.dest])[-1]
    if (place := PLACES[command].get(name)) is not None:
        listed = name == "--training-prompts" and kind in {"broken line", "chat", "long line"}
        return listed or (place.use is Use.WRITE and kind not in {"empty text", "blank"})
    return action.type in (TEXT, PATTERN)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(("command", "given"), GOOD, ids=lambda c: c if isinstance(c, str) else "")
def test_nonsense_is_told_in_one_line(
    command: str, given: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 2; no option waits, raises, or prints a page."""
    parser = PARSERS[command]
    assert status([command, *command_line(parser, given)]) == 0, capsys.readouterr().err
    wrong = []
    first = given is next(one for name, one in GOOD if name == command)
    for action in options(parser):
        name = (action.option_strings or [action.dest])[-1]
        if not first and name not in given:
            continue  # it was tried with the first way to use the subcommand
        suffix = Path(given.get(name, "x.jsonl")).suffix or ".jsonl"
        for kind, value in values(tmp_path / "nonsense", suffix).items():
            capsys.readouterr()
            with ended_in_time():
                code = status([command, *command_line(parser, {**given, name: value})])
            streams = capsys.readouterr()
            lines = streams.err.splitlines()
            told = len(lines) == 1 and lines[0].startswith(f"value-steer {command}: ")
            fine = code == 0 and may_be_fine(action, command, kind)
            if not fine and not (code == 2 and told and len(lines[0]) < 1000):
                wrong.append((name, kind, code, streams.err[-300:]))
    assert not wrong, "\n".join(map(repr, wrong))


@pytest.mark.parametrize("command", PLACES)
def test_every_path_is_checked(command: str) -> None:
    """Those that are declared are there, and no other option takes a path."""
    paths = {
        (a.option_strings or [a.dest])[-1] for a in options(PARSERS[command]) if a.type is PATH
    }
    assert paths == set(PLACES[command])
