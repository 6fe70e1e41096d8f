"""``value-steer capture`` as it asks vLLM, of which there is a stand-in here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers

from compat.behaviour import tiny_models
from tests.features.fake_engine import HIDDEN, FakeEngine, Sampling
from value_steer import cli
from value_steer.features import FeatureCache

COMMAND = "capture prompts.jsonl --model model --raw"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A folder with a model and two prompts; the arguments of every engine that is made."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    config = transformers.MistralConfig(
        vocab_size=tiny_models.VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained("model")
    tiny_models.tokenizer().save_pretrained("model")
    lines = [json.dumps({"prompt": f"question {i}"}) for i in range(2)]
    Path("prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    asked: list[dict[str, Any]] = []

    def make(**arguments: Any) -> FakeEngine:
        asked.append(arguments)
        return FakeEngine()

    vllm = ModuleType("vllm")
    vars(vllm).update(__version__="0.0", LLM=make, SamplingParams=Sampling)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.delitem(sys.modules, "value_steer.cli.vllm_engine", raising=False)
    return asked


def test_the_engine_is_asked_as_told(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """How it samples is written down beside the states; a second run makes nothing."""
    more = '--llm {"max_model_len":64} --top-k 5 --min-p 0.1 --top-p 0.8 --max-tokens 7 --seed none'

    assert cli.main([*COMMAND.split(), *more.split(), "--samples", "2"]) == 0
    assert cli.main([*COMMAND.split(), *more.split(), "--samples", "2"]) == 0

    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["4", "0"]
    first = asked[0]
    assert (first["model"], first["dtype"], first["max_model_len"]) == ("model", "bfloat16", 64)
    assert first["worker_cls"].endswith("CapturingWorker")
    spec = FeatureCache.open("features").spec
    settings = spec.settings
    assert (spec.hidden_size, spec.capture, settings.engine) == (HIDDEN, "decode", "vllm 0.0")
    assert (settings.top_k, settings.min_p, settings.top_p) == (5, 0.1, 0.8)
    assert (settings.max_tokens, settings.model) == (7, "model")


@pytest.mark.usefixtures("asked")
def test_the_mismatch_with_prefill_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """It is large here: the stand-in's states are no model's."""
    assert cli.main([*COMMAND.split(), "--mismatch", "1", "--dtype", "float32"]) == 0

    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("prefill against decode over")
    assert "largest difference" in last


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--llm {", "--llm"),
        ("--llm [1]", "give an object"),
        ('--llm {"worker_cls":"x"}', "worker_cls: capture sets this itself"),
        ("--seed some", "--seed"),
    ],
)
def test_wrong_arguments_are_named(
    asked: list[dict[str, Any]], more: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any engine is made."""
    with pytest.raises(SystemExit) as stop:
        cli.main([*COMMAND.split(), *more.split()])

    assert stop.value.code == 2
    assert words in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("--seed 1", "origin.seed: '0' → '1'"),
        ("--temperature 0.5", "settings.temperature: 1.0 → 0.5"),
        ('--llm {"quantization":"fp8"}', "origin.engine_arguments: "),
        ("--dtype float32", "settings.dtype: 'bfloat16' → 'float32'"),
    ],
)
def test_features_made_otherwise_are_refused(
    asked: list[dict[str, Any]], more: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what differs, before an engine is made."""
    assert cli.main(COMMAND.split()) == 0
    assert cli.main([*COMMAND.split(), *more.split()]) == 2

    assert words in capsys.readouterr().err
    assert len(asked) == 1


def test_another_model_in_the_same_folder_is_another(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its path says nothing."""
    assert cli.main(COMMAND.split()) == 0
    weights = Path("model", "model.safetensors")
    body = bytearray(weights.read_bytes())
    body[-1] ^= 1
    weights.write_bytes(body)

    assert cli.main(COMMAND.split()) == 2
    assert "origin.model_files: " in capsys.readouterr().err
    assert len(asked) == 1


def test_bad_rows_stop_or_are_counted(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before an engine is made."""
    with Path("prompts.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"prompt": "x", "reference": 42}\n')

    assert cli.main(COMMAND.split()) == 2
    assert "prompts.jsonl: line 3: reference = 42: must be text" in capsys.readouterr().err
    assert asked == []
    assert cli.main([*COMMAND.split(), "--skip-bad"]) == 0
    streams = capsys.readouterr()
    assert "warning: 1 rows are left out; the first: prompts.jsonl: line 3" in streams.err
    assert streams.out.startswith("2 responses added to 2 prompts")


@pytest.mark.usefixtures("asked")
def test_an_engine_that_does_not_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What vLLM says of it stands in its own log; its trace is not ours to print."""

    def fail(**_: Any) -> FakeEngine:
        msg = "Engine core initialization failed.\nSee root cause above."
        raise RuntimeError(msg)

    monkeypatch.setattr(sys.modules["vllm"], "LLM", fail)

    assert cli.main(COMMAND.split()) == 1
    said = capsys.readouterr().err.splitlines()
    assert "vLLM does not start with model (Engine core" in said[-1]
    assert "--llm" in said[-1]


def test_a_missing_chat_template_is_told_before_the_engine_starts(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Starting the engine takes minutes."""
    Path("model/chat_template.jinja").unlink()

    assert cli.main(COMMAND.removesuffix(" --raw").split()) == 2
    assert not asked
    assert "no chat template" in capsys.readouterr().err
