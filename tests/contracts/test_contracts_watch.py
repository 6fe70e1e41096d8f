"""What is only watched: read like a contract, and never one."""

from __future__ import annotations

import pytest

from tests.contracts.contract_miniature import MINIATURE
from tests.contracts.contract_trees import MemoryTree
from value_steer.contracts import snapshot
from value_steer.contracts.checker import check
from value_steer.contracts.lookup import Sources
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.surface import Mode
from value_steer.contracts.watch import Place, Watch, arguments, sight
from value_steer.contracts.watched import WATCHES

FLASH = "vllm/v1/attention/backends/flash_attn.py"
CACHE = "vllm/v1/kv_cache_interface.py"
RUNNER = "vllm/v1/worker/gpu_model_runner.py"
RUNNER_V2 = "vllm/v1/worker/gpu/model_runner.py"


def see(watch: str, **files: str) -> tuple[str | None, str | None]:
    """What a watch sees in a tree of some files; ``__`` stands for a slash in a name."""
    tree = MemoryTree({name.replace("__", "/") + ".py": text for name, text in files.items()})
    found = sight(next(w for w in WATCHES if w.id == watch), Sources(tree))
    return found.place, found.seen


SHAPE = """
class FlashAttentionBackend(AttentionBackend):
    @staticmethod
    def get_kv_cache_shape(num_blocks, block_size, num_kv_heads, head_size):
        if block_size % 16 != 0:
            raise ValueError
        return {}
"""


@pytest.mark.parametrize(
    "shape",
    [
        "(2, num_blocks, block_size, num_kv_heads, head_size)",
        "(num_blocks, 2, block_size, num_kv_heads, head_size)",
        "(num_blocks, num_kv_heads, block_size, 2 * head_size)",
    ],
)
def test_the_shape_of_flash_attentions_cache(shape: str) -> None:
    """It is what the method returns in the end, in whatever order."""
    place, seen = see(
        "flash_attention.kv_shape",
        vllm__v1__attention__backends__flash_attn=SHAPE.format(shape),
    )

    assert place == f"{FLASH}, FlashAttentionBackend.get_kv_cache_shape"
    assert seen == shape


def test_a_method_that_moved_is_followed() -> None:
    """Where it is no longer, the next place is looked at."""
    found = see(
        "flash_attention.kv_shape",
        vllm__v1__attention__backends__flash_attn="class FlashAttentionBackend: pass",
        vllm__v1__kv_cache_interface="def compute_layer_kv_cache_shape_bytes(s):\n    return (1,)",
    )

    assert found == (f"{CACHE}, compute_layer_kv_cache_shape_bytes", "(1,)")


@pytest.mark.parametrize(
    ("watch", "file", "text", "seen"),
    [
        (
            "kv_cache_tensor.fields",
            CACHE,
            "class KVCacheTensor:\n    size: int\n    layer_stride: int",
            "fields size, layer_stride",
        ),
        (
            "runner.initialize_kv_cache",
            RUNNER,
            "class GPUModelRunner:\n    def initialize_kv_cache(self, kv, is_profiling=False): ...",
            "(kv, is_profiling=…)",
        ),
        (
            "execute_model_state_v2.logits",
            RUNNER_V2,
            "class ExecuteModelState:\n    hidden_states: int",
            "without logits",
        ),
        (
            "execute_model_state_v2.logits",
            RUNNER_V2,
            "class ExecuteModelState:\n    logits: int",
            "with logits",
        ),
        (
            "flash_attention.kv_shape",
            FLASH,
            "class FlashAttentionBackend:\n    def get_kv_cache_shape(self):\n        raise X",
            "no value that is written down",
        ),
    ],
)
def test_what_is_seen(watch: str, file: str, text: str, seen: str) -> None:
    """Each look reads what its watch is about."""
    assert see(watch, **{file.removesuffix(".py").replace("/", "__"): text})[1] == seen


@pytest.mark.parametrize("watch", WATCHES, ids=lambda watch: watch.id)
def test_a_watch_is_no_contract(watch: Watch) -> None:
    """It has a name and a reason of its own, and is not there without being broken."""
    assert watch.id not in {surface.id for surface in SURFACES}
    assert watch.why.endswith(".")
    assert sight(watch, Sources(MemoryTree({}))).seen is None


def test_what_is_watched_fails_no_check() -> None:
    """A tree without any of it holds every contract, and a file that is no Python is told."""
    broken = MINIATURE.having(FLASH, "def (")
    watched = {seen.id: seen.seen for seen in snapshot.take(broken).watched}

    assert check(broken, Mode).ok
    assert watched["common_attention_metadata.fields"] is None
    assert "cannot be parsed" in str(watched["flash_attention.kv_shape"])


def test_a_comment_is_not_seen() -> None:
    """Only a definition counts."""
    watch = Watch("w", (Place("vllm/a.py", "f"),), arguments, "No reason.")

    assert sight(watch, Sources(MemoryTree({"vllm/a.py": "# def f(x): ..."}))).place is None
    assert sight(watch, Sources(MemoryTree({"vllm/a.py": "def f(x): ..."}))).seen == "(x)"
