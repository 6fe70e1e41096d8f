"""The judge's plumbing against a real ``vllm serve`` of a tiny random model."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compat.behaviour import tiny_models
from tests.labels.samples import said

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here"
    ),
    # Of transformers and of what it imports.
    pytest.mark.filterwarnings("default"),
]

RESPONSES = [said(f"w{10 + i:03} w020", number=i) for i in range(20)]
_BOOT_SECONDS = 300


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server, which ends with the module."""
    folder = tmp_path_factory.mktemp("judge")
    model = tiny_models.build("mistral", folder / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("vllm")), "serve", str(model)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--enforce-eager"]
    command += ["--dtype", "float32", "--max-model-len", "512", "--served-model-name", "tiny"]
    log = folder / "server.log"
    settings = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **settings})
    try:
        _await(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)


def _await(health: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _BOOT_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(health, timeout=5):  # noqa: S310  (our own server)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')[-4000:]}")


def test_a_random_model_is_held_to_the_two_words(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It knows neither, and yet every answer is one of them: structured output is in force."""
    from value_steer.labels.judge import JudgeServer, LLMJudge  # noqa: PLC0415
    from value_steer.labels.judge_prompts import JudgePrompt  # noqa: PLC0415

    prompt = JudgePrompt("words", "", "w100", "w200", shows_prompt=False)
    with (
        closing(LLMJudge(JudgeServer(url), prompt)) as judge,
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
