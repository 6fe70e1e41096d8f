"""One sampled response and its hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from value_steer.features.errors import FeatureCacheError

if TYPE_CHECKING:
    from torch import Tensor


class ResponseKey(NamedTuple):
    """Which response: the prompt's id, and the number of the sample among that prompt's."""

    prompt_id: str
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt for the model.

    Attributes:
        id: Its name, unique in its data set.
        text: What the user says.
        reference: The data set's own answer, if it has one.
        history: What was said before, by the user and the assistant in turn.

    Raises:
        FeatureCacheError: One of them is no text.
    """

    id: str
    text: str
    reference: str | None = None
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # Before the first token is generated: what is no text here would be found out hours later.
        given = {"id": self.id, "text": self.text, "reference": self.reference}
        given |= {f"history {place}": said for place, said in enumerate(self.history)}
        for name, value in given.items():
            if not isinstance(value, str) and not (name == "reference" and value is None):
                msg = f"prompt {self.id!r}: {name} is {value!r}; it must be text"
                raise FeatureCacheError(msg)


@dataclass(frozen=True, slots=True)
class Response:
    """A sampled response in words.

    Attributes:
        key: Which one it is.
        prompt: What the user said last.
        text: The response.
        finish: Why it ended, as vLLM says: ``stop``, ``length``, ...; ``None`` if unknown.
        reference: The data set's own answer to the prompt, if it has one.
        prompt_tokens: The whole prompt as the model read it; empty if it is not known.
        label: From 0 to 1, if it was known when the features were stored; 1 is good.
    """

    key: ResponseKey
    prompt: str = ""
    text: str = ""
    finish: str | None = None
    reference: str | None = None
    prompt_tokens: tuple[int, ...] = ()
    label: float | None = None


@dataclass(frozen=True, slots=True)
class ResponseFeatures:
    """The hidden states of one response, as ``lm_head`` reads them.

    Attributes:
        response: Whose they are.
        tokens: The response's token ids, ``[T]``, the one that ended it included.
        hidden: The state after consuming each of them, ``[T, H]``.
        prior: The state at the last position of the prompt, ``[H]``.

    Raises:
        FeatureCacheError: They are no plain tensors, or the shapes do not belong together.
    """

    response: Response
    tokens: Tensor
    hidden: Tensor
    prior: Tensor

    def __post_init__(self) -> None:
        for name in ("tokens", "hidden", "prior"):
            value = getattr(self, name)
            if not _is_plain(value):
                kind = type(value).__name__
                msg = (
                    f"response {self.response.key}: {name}, a {kind}, is no plain tensor of numbers"
                )
                raise FeatureCacheError(msg)
        shapes = tuple(self.tokens.shape), tuple(self.hidden.shape), tuple(self.prior.shape)
        size, length = self.prior.numel(), self.tokens.numel()
        if shapes != ((length,), (length, size), (size,)):
            msg = (
                f"response {self.response.key}: tokens, hidden, prior have the shapes {shapes}; "
                "expected [T], [T, H], [H]"
            )
            raise FeatureCacheError(msg)


def _is_plain(value: object) -> bool:
    """Whether a tensor has its numbers in memory, one beside the other."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout is torch.strided
        and not (value.is_nested or value.is_meta or value.is_quantized or value.is_complex())
    )
