"""What the checker says of the real releases; asks the package index, so only if it is wanted."""

from __future__ import annotations

import os

import pytest

from value_steer import compat_story, compat_sweep
from value_steer.compat_sweep import Selection, Sweep
from value_steer.contracts.history import turns
from value_steer.contracts.surface import Mode

pytestmark = pytest.mark.skipif(
    not os.environ.get("VALUE_STEER_TEST_INDEX"),
    reason="reads 21 releases from the package index; set VALUE_STEER_TEST_INDEX=1",
)

NEWEST = "0.33.0"


@pytest.fixture(scope="module")
def found() -> Sweep:
    """Every release from the floor to the newest that is known here."""
    return compat_sweep.run(Selection(since="0.19.0", until=NEWEST), tuple(Mode))


def seen(found: Sweep, watch: str) -> dict[str, tuple[str | None, str | None]]:
    """What a watch saw, by the release that changed it."""
    return {t.version: (t.after.place, t.after.seen) for t in turns(found.history, watch)}


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


def test_the_shape_of_the_cache_and_where_it_is_said(found: Sweep) -> None:
    """Flash attention's, three times another one, and then in another place."""
    method = "vllm/v1/attention/backends/flash_attn.py, FlashAttentionBackend.get_kv_cache_shape"
    shapes = seen(found, "flash_attention.kv_shape")

    assert shapes["0.19.0"] == (method, "(2, num_blocks, block_size, num_kv_heads, head_size)")
    assert shapes["0.23.0"] == (method, "(num_blocks, 2, block_size, num_kv_heads, head_size)")
    assert shapes["0.26.0"] == (method, "(num_blocks, num_kv_heads, block_size, 2 * head_size)")
    assert shapes["0.29.0"][0] == (
        "vllm/v1/kv_cache_interface.py, compute_layer_kv_cache_shape_bytes"
    )


def test_what_moved_without_concerning_the_engine(found: Sweep) -> None:
    """Each is seen in the release that brought it."""
    made, tensor = seen(found, "runner.initialize_kv_cache"), seen(found, "kv_cache_tensor.fields")
    logits = seen(found, "execute_model_state_v2.logits")

    assert "is_profiling" not in str(made["0.19.0"])
    assert "is_profiling" in str(made["0.20.0"])
    assert next(v for v, look in tensor.items() if "layer_stride" in str(look)) == "0.29.0"
    assert [look[1] for look in logits.values()] == ["without logits"]


def test_a_story_says_what_is_no_contract() -> None:
    """``--explain`` tells it with its reason."""
    text = "\n".join(compat_story.told("0.30.0"))

    assert "contracts with vLLM 0.30.0" in text
    assert "not bound to: kv_cache_tensor.fields, changed in 0.30.0: fields +host_resident" in text
    assert "not bound to: execute_model_state_v2.logits, as in 0.19.0: without logits" in text
