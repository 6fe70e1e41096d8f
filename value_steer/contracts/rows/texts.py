"""How the texts of the settings become tokens."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Accepts, Exists, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset({Mode.ABSTAIN}))

_RESOLVE = "value_steer.engine.forcing.scripts.resolve_scripts"

ROWS: tuple[Surface, ...] = (
    _ROW(
        id="tokenizers.cached_tokenizer_from_config",
        path="vllm/tokenizers/registry.py",
        symbol="cached_tokenizer_from_config",
        need=Parameters(("model_config",)),
        used_by="value_steer.engine.host.tokenizer",
        why="A message and the token that closes reasoning are the model's own.",
    ),
    _ROW(
        id="tokenizers.encode",
        path="vllm/tokenizers/protocol.py",
        symbol="TokenizerLike.encode",
        need=Accepts(("text", "add_special_tokens")),
        used_by=_RESOLVE,
        why="What is given out is the text, and no token that begins or ends a sequence.",
    ),
    _ROW(
        id="tokenizers.get_vocab",
        path="vllm/tokenizers/protocol.py",
        symbol="TokenizerLike.get_vocab",
        need=Exists(),
        used_by=_RESOLVE,
        why="Whether the model closes reasoning by a token is asked of its vocabulary.",
    ),
)
