"""What the checker says of the real releases; asks the package index, so only if it is wanted."""

from __future__ import annotations

import os

import pytest

from value_steer.contracts.history import releases, story
from value_steer.contracts.history.releases import Selection, Sweep
from value_steer.contracts.surface import Mode

pytestmark = pytest.mark.skipif(
    not os.environ.get("VALUE_STEER_TEST_INDEX"),
    reason="reads 21 releases from the package index; set VALUE_STEER_TEST_INDEX=1",
)

NEWEST = "0.33.0"


@pytest.fixture(scope="module")
def found() -> Sweep:
    """Every release from the floor to the newest that is known here."""
    return releases.run(Selection(since="0.19.0", until=NEWEST), tuple(Mode))


def test_every_contract_holds_on_both_runners(found: Sweep) -> None:
    """On all of 21 releases."""
    assert [s.version for s in found.history if found.broken(s)] == []
    assert len(found.history) == 21


@pytest.mark.parametrize(
    ("architecture", "defaults"),
    [
        (
            "Qwen3ForCausalLM",
            {"0.21.0": "v1", "0.22.0": "v2 unless quantized", "0.24.0": "v2"},
        ),
        (
            "LlamaForCausalLM",
            {"0.22.1": "v1", "0.23.0": "v2 unless quantized", "0.24.0": "v2"},
        ),
        (
            "MistralForCausalLM",
            {"0.22.1": "v1", "0.23.0": "v2 unless quantized", "0.24.0": "v2"},
        ),
        (
            "GemmaForCausalLM",
            {"0.24.0": "v1", "0.25.0": "v2 if dense", "0.28.0": "v2 if dense", "0.29.0": "v2"},
        ),
    ],
)
def test_the_runner_that_is_built_by_default(
    architecture: str, defaults: dict[str, str], found: Sweep
) -> None:
    """Listed models first, then every dense one, then all."""
    by_version = {s.version: s.runner_default.of(architecture) for s in found.history}

    assert {version: by_version[version] for version in defaults} == defaults


def test_a_story_reads_every_release_up_to_the_wanted_one() -> None:
    """``--explain`` tells what holds and since when the default runner is what it is."""
    text = "\n".join(story.told("0.30.0"))

    assert "contracts with vLLM 0.30.0" in text
    assert "static verdict: abstain/v1 hold" in text
    assert "default model runner: v2" in text
