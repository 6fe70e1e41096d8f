"""vLLM's offline engine as far as capturing touches it: no more than this is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from value_steer.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.features.records import Prompt


class Tokenizer(Protocol):
    """A tokenizer of ``transformers``."""

    chat_template: str | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The token ids of a text, with or without the special tokens that begin one."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        """The text of token ids."""

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

    @property
    def text(self) -> str:
        """The response."""

    @property
    def token_ids(self) -> Sequence[int]:
        """Its tokens."""

    @property
    def finish_reason(self) -> str | None:
        """Why it ended."""


class Answer(Protocol):
    """``vllm.RequestOutput``."""

    @property
    def outputs(self) -> Sequence[Completion]:
        """The responses to one prompt."""


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


def prompt_tokens(tokenizer: Tokenizer, prompt: Prompt, *, chat: bool) -> list[int]:
    """A prompt as the model reads it: in its chat template, or as it is, one turn a line."""
    said = [*prompt.history, prompt.text]
    if not chat:
        return tokenizer.encode("\n".join(said), add_special_tokens=True)
    if tokenizer.chat_template is None:
        msg = "the model's tokenizer has no chat template; capture and decode with --raw"
        raise DataError(msg)
    turns = [
        {"role": ("user", "assistant")[place % 2], "content": text}
        for place, text in enumerate(said)
    ]
    templated = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(templated, add_special_tokens=False)  # the template has them
