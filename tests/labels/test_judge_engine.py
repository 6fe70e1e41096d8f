"""The judge's plumbing against a real ``vllm serve`` of a tiny random model."""

from __future__ import annotations

import importlib.util
import logging
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import tiny_models
from compat.behaviour.server import serving
from tests.labels.samples import said
from value_steer.value_probe import HeadCard, Polarity, ValueHead, save_value_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"
    ),
    # Of transformers and of what it imports.
    pytest.mark.filterwarnings("default"),
]

RESPONSES = [said(f"w{10 + i:03} w020", number=i) for i in range(20)]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server, which ends with the module."""
    with pytest.MonkeyPatch.context() as patch:
        # A busy machine takes its time.
        patch.setattr("compat.behaviour.server._BOOT_SECONDS", 1200)
        yield from _serve(tmp_path_factory.mktemp("judge"))


def _serve(folder: Path) -> Iterator[str]:
    model = tiny_models.build("mistral", folder / "model")
    head = ValueHead(tiny_models.HIDDEN)
    save_value_head(folder / "head.pt", head, HeadCard(tiny_models.HIDDEN, scores=Polarity.P_GOOD))
    config: dict[str, object] = {
        "abstain": {"value_head_path": str(folder / "head.pt"), "threshold": "never"}
    }
    with serving(model, config, folder / "server.log") as address:
        yield address


def test_a_random_model_is_held_to_the_two_words(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It knows neither, and yet every answer is one of them: structured output is in force."""
    from value_steer.labels.judge import JudgeServer, LLMJudge  # noqa: PLC0415
    from value_steer.labels.judge_prompts import JudgePrompt  # noqa: PLC0415

    prompt = JudgePrompt("words", "", "w100", "w200", shows_prompt=False)
    with (
        closing(LLMJudge(JudgeServer(url, max_tokens=16), prompt)) as judge,
        caplog.at_level(logging.WARNING, logger="value_steer"),
    ):
        labels = judge.label(RESPONSES)

    assert len(labels) == len(RESPONSES)
    assert set(labels) <= {0.0, 1.0}
    assert caplog.text == ""


def test_a_server_that_does_not_serve_the_model(url: str) -> None:
    """The real list of models is read."""
    from value_steer.labels.errors import JudgeError  # noqa: PLC0415
    from value_steer.labels.judge import JudgeServer, LLMJudge  # noqa: PLC0415

    judge = LLMJudge(JudgeServer(url, model="other"))
    with closing(judge), pytest.raises(JudgeError, match="it serves: tiny"):
        judge.label(RESPONSES[:1])
