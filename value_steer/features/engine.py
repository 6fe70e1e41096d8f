"""vLLM's offline engine as far as capturing touches it: no more than this is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Tokenizer(Protocol):
    """A tokenizer of ``transformers``."""

    chat_template: str | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text, with or without the special tokens that begin one."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """A conversation as one text."""


class Sampling(Protocol):
    """``vllm.SamplingParams``."""

    n: int
    seed: int | None
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    max_tokens: int | None
    extra_args: dict[str, Any] | None


class Completion(Protocol):
    """``vllm.CompletionOutput``."""

    text: str
    token_ids: Sequence[int]
    finish_reason: str | None


class Answer(Protocol):
    """``vllm.RequestOutput``."""

    outputs: list[Completion]


class Engine(Protocol):
    """``vllm.LLM`` whose worker is :class:`value_steer.features.worker.CapturingWorker`."""

    def get_tokenizer(self) -> Tokenizer:
        """The model's."""

    def generate(
        self,
        prompts: Sequence[dict[str, list[int]]],
        sampling_params: Sequence[Sampling],
        *,
        use_tqdm: bool,
    ) -> Sequence[Answer]:
        """Answer prompts given as token ids, in their order."""

    def collective_rpc(
        self, method: str, timeout: float | None = None, args: tuple[Any, ...] = ()
    ) -> list[Any]:
        """Call a method of every worker."""
