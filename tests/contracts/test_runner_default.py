"""The default model runner is read from source of every shape that a release has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from value_steer.contracts.lookup import Sources
from value_steer.contracts.runner_default import Rule, RunnerDefault, runner_default
from value_steer.contracts.sources.tree import DirectoryTree

if TYPE_CHECKING:
    from pathlib import Path

LIST = 'DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES = frozenset({"Qwen3", "Llama"})\n'
NOTHING_LISTED = "DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES = frozenset()\n"
ANY = "any(a in DEFAULT_V2_MODEL_RUNNER_ARCHITECTURES for a in self.names)"
LISTED = ("Llama", "Qwen3")
ASKS = """
class VllmConfig:
    @property
    def use_v2_model_runner(self):
        if not self._is_default_v2_model_runner_model():
            return False
        return True
    def _is_default_v2_model_runner_model(self):
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class VllmConfig: pass", RunnerDefault(Rule.V1)),
        (
            f"{LIST}{ASKS}        if not {ANY}:\n            return False\n"
            "        return not self.is_moe and not self.is_quantized\n",
            RunnerDefault(Rule.LISTED, LISTED, unquantized=True),
        ),
        (f"{LIST}{ASKS}        return {ANY}\n", RunnerDefault(Rule.LISTED, LISTED)),
        (
            f"{LIST}{ASKS}        return {ANY} or not self.is_moe\n",
            RunnerDefault(Rule.DENSE, LISTED),
        ),
        (f"{LIST}{ASKS}        return self.surprise()\n", RunnerDefault(Rule.UNKNOWN)),
        (f"{LIST}{ASKS}        self.surprise()\n", RunnerDefault(Rule.UNKNOWN)),
        (f"{NOTHING_LISTED}{ASKS}        return {ANY}\n", RunnerDefault(Rule.UNKNOWN)),
        (f"{ASKS}        return True\n", RunnerDefault(Rule.UNKNOWN)),
        (
            "class VllmConfig:\n    def use_v2_model_runner(self):\n        return True\n",
            RunnerDefault(Rule.V2),
        ),
        (
            "class VllmConfig:\n    def use_v2_model_runner(self):\n        return other()\n",
            RunnerDefault(Rule.UNKNOWN),
        ),
        (
            "class VllmConfig:\n    def use_v2_model_runner(self):\n        if on: return True\n",
            RunnerDefault(Rule.UNKNOWN),
        ),
        ("class VllmConfig:\n    use_v2_model_runner = True\n", RunnerDefault(Rule.UNKNOWN)),
        ("class VllmConfig(:", RunnerDefault(Rule.UNKNOWN)),
    ],
)
def test_rules(source: str, expected: RunnerDefault, tmp_path: Path) -> None:
    """Each known shape has its rule, any other is not determined."""
    path = tmp_path / "vllm" / "config" / "vllm.py"
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")

    assert runner_default(Sources(DirectoryTree(tmp_path))) == expected


@pytest.mark.parametrize(
    ("default", "architecture", "answer"),
    [
        (RunnerDefault(Rule.V1), "Llama", "v1"),
        (RunnerDefault(Rule.LISTED, LISTED, unquantized=True), "Llama", "v2 unless quantized"),
        (RunnerDefault(Rule.LISTED, LISTED), "Llama", "v2"),
        (RunnerDefault(Rule.LISTED, LISTED), "Gemma", "v1"),
        (RunnerDefault(Rule.DENSE, LISTED), "Gemma", "v2 if dense"),
        (RunnerDefault(Rule.V2), "Gemma", "v2"),
        (RunnerDefault(Rule.UNKNOWN), "Gemma", "not determined"),
    ],
)
def test_of_an_architecture(default: RunnerDefault, architecture: str, answer: str) -> None:
    """A condition that the architecture does not settle is told."""
    assert default.of(architecture) == answer


@pytest.mark.parametrize(
    ("default", "told"),
    [
        (RunnerDefault(Rule.V1), "v1"),
        (RunnerDefault(Rule.LISTED, LISTED), "v2 for listed architectures (Llama, Qwen3)"),
        (
            RunnerDefault(Rule.LISTED, LISTED, unquantized=True),
            "v2 for listed architectures, if dense and not quantized (Llama, Qwen3)",
        ),
    ],
)
def test_a_rule_is_told_with_its_condition_and_its_list(default: RunnerDefault, told: str) -> None:
    """A reader sees for which models it holds."""
    assert str(default) == told
