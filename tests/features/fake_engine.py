"""An engine without a model: what it answers and what it keeps follows from the request alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from value_steer.features.keys import CAPTURE_KEY
from value_steer.features.recorder import Recorder
from value_steer.features.shards import DTYPES, store_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.features import engine

HIDDEN = 8


@dataclass
class Sampling:
    """What ``vllm.SamplingParams`` has."""

    n: int = 1
    seed: int | None = None
    temperature: float = 1.0
    top_p: float = 0.9
    top_k: int = -1
    min_p: float = 0.0
    max_tokens: int | None = 12
    extra_args: dict[str, Any] | None = None


class Tokenizer:
    """One character, one token; turns of its chat stand in brackets."""

    chat_template: str | None = "[{}]"

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """A beginning, if it is asked for, and the characters."""
        return [1] * add_special_tokens + [ord(letter) for letter in text]

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        """The characters."""
        return "".join(map(chr, token_ids)) if skip_special_tokens else repr(token_ids)

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """Every turn in brackets."""
        assert not tokenize
        assert add_generation_prompt
        return "".join(f"[{turn['role']} {turn['content']}]" for turn in conversation)


@dataclass
class Completion:
    """One response."""

    text: str
    token_ids: list[int]
    finish_reason: str | None = "stop"


@dataclass
class Answer:
    """The responses to one prompt."""

    outputs: list[Completion]


@dataclass
class FakeEngine:
    """Follows the requests through a real recorder.

    Attributes:
        lies: Give out other tokens than were recorded.
        asked: The token ids of every prompt, and every seed.
    """

    lies: bool = False
    asked: list[tuple[list[int], int | None]] = field(default_factory=list)
    _recorder: Recorder = field(default_factory=Recorder)

    def get_tokenizer(self) -> Tokenizer:
        """The one above."""
        return Tokenizer()

    def generate(
        self,
        prompts: Sequence[dict[str, list[int]]],
        sampling_params: Sequence[engine.Sampling],
        *,
        use_tqdm: bool,
    ) -> list[Answer]:
        """Answer with small letters drawn from each request's seed."""
        assert not use_tqdm
        return [
            self._answer(str(i), prompt["prompt_token_ids"], sampling)
            for i, (prompt, sampling) in enumerate(zip(prompts, sampling_params, strict=True))
        ]

    def collective_rpc(
        self, method: str, timeout: float | None = None, args: tuple[Any, ...] = ()
    ) -> list[Any]:
        """What the worker does; the second rank says nothing."""
        assert (method, timeout) == ("write_captured", None)
        folder, dtype, keys, lengths = args
        taken = self._recorder.take(keys, lengths)
        stored = store_tensors(
            Path(folder),
            [one.tokens for one in taken],
            [one.hidden for one in taken],
            [one.prior for one in taken],
            DTYPES[dtype],
        )
        return [None, [stored.name, stored.sha256]]

    def _answer(self, request_id: str, prompt: list[int], sampling: engine.Sampling) -> Answer:
        assert sampling.extra_args is not None
        self.asked.append((prompt, sampling.seed))
        self._recorder.admit(request_id, sampling.extra_args[CAPTURE_KEY], len(prompt))
        self._note(request_id, prompt)
        draw = random.Random(sampling.seed)  # noqa: S311  (no secret)
        tokens = [97 + draw.randrange(26) for _ in range(draw.randint(1, sampling.max_tokens or 9))]
        for i in range(len(tokens)):
            self._note(request_id, [*prompt, *tokens[: i + 1]])
        self._recorder.finish(request_id)
        given = tokens[::-1] if self.lies else tokens
        return Answer([Completion("".join(map(chr, tokens)), given)])

    def _note(self, request_id: str, sequence: list[int]) -> None:
        lengths = {request_id: len(sequence)}
        self._recorder.note(lengths, lambda _: sequence[-1], [request_id], _state(sequence))


def _state(sequence: list[int]) -> torch.Tensor:
    """A state that says which sequence it belongs to, ``[1, H]``."""
    return torch.tensor([[float(sum(sequence)), len(sequence), *sequence[-1:], 0, 0, 0, 0, 0.5]])
