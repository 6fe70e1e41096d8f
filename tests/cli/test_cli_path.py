"""From prompts to a calibrated head and a report, by nothing but the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers

from compat.behaviour import tiny_models
from value_steer import cli
from value_steer.cli.arguments.capture import DATASETS
from value_steer.evaluation.generations import read_generations
from value_steer.features import (
    CacheSpec,
    FeatureCache,
    Response,
    ResponseFeatures,
    ResponseKey,
)
from value_steer.value_probe import Polarity, load_value_head

PROMPTS = 96
MODEL = "model"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a tiny model and a file of prompts, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=tiny_models.VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=tiny_models.BOS,
        eos_token_id=tiny_models.EOS,
        pad_token_id=tiny_models.PAD,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(MODEL)
    tiny_models.tokenizer().save_pretrained(MODEL)
    lines = [json.dumps({"prompt": f"w{100 + i} w{300 + i}"}) for i in range(PROMPTS)]
    Path("prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def run(command: str) -> None:
    """One command, which succeeds."""
    assert cli.main(command.split()) == 0, command


def test_the_whole_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file is made by one command and read by the next."""
    capture = "capture prompts.jsonl --model model --engine transformers --dtype float32 --raw"
    run(f"{capture} --max-tokens 6")
    run(f"{capture} --max-tokens 6")
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(f"{PROMPTS} responses added")
    assert told[1].startswith("0 responses added")
    settings = FeatureCache.open("features").spec.settings
    assert (settings.model, settings.max_tokens, settings.chat_template) == (MODEL, 6, "none")

    run("label features --by regex --pattern [0-4]$")
    assert f"{PROMPTS} labels 'regex'" in capsys.readouterr().out

    run(
        "train features --labels regex --recipe filtering --epochs 2 --batch-size 16 "
        "--calibration-share 0.5 --prompt-position"
    )
    assert "AUROC at the first, middle, last token" in capsys.readouterr().out

    run("calibrate --features features --labels regex --head vhead.safetensors --alpha 0.5")
    assert "held-out prompts: vhead.safetensors.trajectories.jsonl" in capsys.readouterr().out
    card = load_value_head("vhead.safetensors").card
    assert card.scores is Polarity.P_UNDESIRABLE
    assert card.backbone == MODEL
    assert card.curve("alpha") is not None

    run("evaluate --trajectories vhead.safetensors.trajectories.jsonl --out report")
    # Whether there is a vLLM here or not: without one, 1 says that serving would not work.
    assert cli.main(["doctor", "--head", "vhead.safetensors", "--model", "model"]) in {0, 1}
    assert "fits model" in capsys.readouterr().out
    assert (folder / "report" / "report.html").is_file()

    capsys.readouterr()
    run(
        "evaluate --decode prompts.jsonl --model model --head vhead.safetensors --threshold 0.5 "
        "--unsafe [5-9]$ --raw --limit 3 --max-tokens 3 --candidates 2 --best-of 2 --out decoded"
    )
    shown = capsys.readouterr().out
    found = read_generations("decoded/generations.jsonl")
    assert len({one.policy for one in found}) == 7
    assert len(found) == 3 * 7
    assert all(one.policy in shown for one in found)
    assert (folder / "decoded" / "report.html").is_file()


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("label none --by maths", 2, "none"),
        ("train none --labels x --recipe abstention", 2, "none"),
        ("calibrate --head h.safetensors", 2, "give either a file of trajectories or --features"),
        ("calibrate t.jsonl --features f --head h", 2, "give either"),
        ("calibrate --features f --head h", 2, "--features needs --labels"),
        ("capture none.jsonl --model model", 2, "none.jsonl"),
        ("evaluate", 2, "give --trajectories, --generations or --decode"),
        ("evaluate --decode prompts.jsonl --unsafe x", 2, "--decode needs --model and --head"),
        ("evaluate --decode prompts.jsonl --model model --head h", 2, "needs a judge: --unsafe"),
    ],
)
def test_what_is_missing_is_named(
    folder: Path, command: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, before anything is made."""
    del folder
    assert cli.main(command.split()) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--by regex", "needs a pattern"),
        ("--by safety", "needs a judge's URL"),
    ],
)
def test_a_verifier_needs_its_options(
    tmp_path: Path, options: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pattern, or an endpoint."""
    cache = FeatureCache.create(tmp_path / "features", CacheSpec(4))
    one = ResponseFeatures(
        Response(ResponseKey("p")), torch.ones(1), torch.ones(1, 4), torch.ones(4)
    )
    cache.add([one])

    assert cli.main(["label", str(tmp_path / "features"), *options.split()]) in {1, 2}
    assert words in capsys.readouterr().err


def test_data_sets_are_those_that_can_be_read() -> None:
    """The help names them without loading what reads them."""
    from value_steer.labels.datasets import SOURCES  # noqa: PLC0415  (an optional extra)

    assert set(DATASETS) == set(SOURCES)
