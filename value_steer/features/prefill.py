"""Hidden states from one teacher-forced pass of a ``transformers`` model, for small work.

They are not quite those of decoding in the serving engine; :func:`mismatch` measures by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.functional import cosine_similarity

from value_steer.features.engine import prompt_tokens
from value_steer.features.errors import CaptureError
from value_steer.features.present import Present
from value_steer.features.records import Prompt, Response, ResponseFeatures, ResponseKey
from value_steer.records.differences import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from value_steer.features.cache import FeatureCache
    from value_steer.features.capture import CapturePlan
    from value_steer.features.engine import Tokenizer


class GenerationConfig(Protocol):
    """A model's own settings for generation."""

    eos_token_id: int | list[int] | None


class CausalLM(Protocol):
    """A causal language model of ``transformers``."""

    device: torch.device
    generation_config: GenerationConfig

    def __call__(self, input_ids: Tensor) -> object:
        """One forward pass of ``[B, T]`` token ids."""

    def generate(self, input_ids: Tensor, **options: object) -> Tensor:
        """Continue ``[B, T]`` token ids."""

    def get_output_embeddings(self) -> nn.Module:
        """Its ``lm_head``."""


@dataclass(frozen=True, slots=True)
class PrefillSampling:
    """How the model samples; no other warping is applied.

    Attributes:
        max_tokens: Response tokens at most.
        temperature: 0 takes the most probable token.
        top_p: Nucleus mass; 1 is off.
        top_k: Most probable tokens that stay; 0 is off.
        min_p: Least probability, as a share of the largest; 0 is off.
    """

    max_tokens: int = 400
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Mismatch:
    """How far teacher-forced states are from captured ones, over all tokens of some responses.

    Attributes:
        tokens: How many were compared.
        mean_cosine: Mean cosine similarity.
        least_cosine: The smallest.
        max_abs: The largest difference of any number.
    """

    tokens: int
    mean_cosine: float
    least_cosine: float
    max_abs: float

    def __str__(self) -> str:
        return (
            f"prefill against decode over {self.tokens} tokens: cosine {self.mean_cosine:.6f} on "
            f"average, {self.least_cosine:.6f} at least; largest difference {self.max_abs:.3g}"
        )


@torch.no_grad()
def teacher_forced(
    model: CausalLM, prompt: Sequence[int], tokens: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The states that ``lm_head`` reads in one pass over a prompt and its response.

    Args:
        model: In evaluation mode.
        prompt: Token ids, one at least.
        tokens: Of the response.

    Returns:
        The prior ``[H]`` and the states after each response token ``[T, H]``, on the CPU.

    Raises:
        CaptureError: The model did not call its ``lm_head``, or on other than all positions.
    """
    read: list[Tensor] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0]))
    try:
        model(torch.tensor([[*prompt, *tokens]], device=model.device))
    finally:
        hook.remove()
    length = len(prompt) + len(tokens)
    if len(read) != 1 or read[0].shape[1] != length:
        msg = f"lm_head read {[tuple(seen.shape) for seen in read]}, expected [1, {length}, H]"
        raise CaptureError(msg)
    states = read[0][0, len(prompt) - 1 :].cpu()
    return states[0], states[1:]


def prefill(  # noqa: PLR0913  (what to sample from, how, where it goes, and who is told)
    model: CausalLM,
    tokenizer: Tokenizer,
    sampling: PrefillSampling,
    prompts: Iterable[Prompt],
    cache: FeatureCache,
    plan: CapturePlan,
    *,
    after_batch: Callable[[int], None] | None = None,
) -> int:
    """Sample responses with ``transformers`` and append their teacher-forced states to a cache.

    One prompt at a time, ``plan.batch`` responses to a shard; those that are there are skipped.
    ``after_batch`` is called with the number of responses that have just been stored.

    Returns:
        How many responses were added.

    Raises:
        CaptureError: What is there answers another prompt of the same id.
    """
    before, present = len(cache), Present(cache, tokenizer, chat=plan.chat)
    waiting: list[ResponseFeatures] = []
    for prompt in prompts:
        ids = prompt_tokens(tokenizer, prompt, chat=plan.chat)
        for sample in range(plan.samples):
            key = ResponseKey(prompt.id, sample)
            if present.holds(key, prompt):
                continue
            tokens = _sample(model, ids, sampling)
            waiting.append(_features(model, tokenizer, key, prompt, (ids, tokens)))
        if len(waiting) >= plan.batch:
            _store(waiting, cache, after_batch)
            waiting = []
    _store(waiting, cache, after_batch)
    return len(cache) - before


def _store(
    features: list[ResponseFeatures],
    cache: FeatureCache,
    after_batch: Callable[[int], None] | None,
) -> None:
    cache.add(features)
    if after_batch is not None:
        after_batch(len(features))


def prefill_responses(
    model: CausalLM,
    tokenizer: Tokenizer,
    responses: Iterable[Response],
    cache: FeatureCache,
    plan: CapturePlan,
) -> int:
    """Append the teacher-forced states of responses that are there already, labels included.

    A data set's own responses are not those of the model: a head that is trained on them should
    be trained on its own as well.

    Returns:
        How many responses were added.

    Raises:
        CaptureError: What is there under a response's key is another response.
    """
    before = len(cache)
    present = {one.key: one for shard in cache.shards for one in cache.responses(shard)}
    waiting: list[ResponseFeatures] = []
    for response in responses:
        if (stored := present.get(response.key)) is not None:
            _require_same(stored, response)
            continue
        prompt = Prompt(response.key.prompt_id, response.prompt)
        ids = prompt_tokens(tokenizer, prompt, chat=plan.chat)
        tokens = tokenizer.encode(response.text, add_special_tokens=False)
        prior, hidden = teacher_forced(model, ids, tokens)
        words = replace(response, prompt_tokens=tuple(ids))
        states = torch.tensor(tokens, dtype=torch.int32), hidden, prior
        waiting.append(ResponseFeatures(words, *states))
        if len(waiting) >= plan.batch:
            cache.add(waiting)
            waiting = []
    cache.add(waiting)
    return len(cache) - before


def _require_same(stored: Response, response: Response) -> None:
    old, new = (
        {"prompt": one.prompt, "text": one.text, "reference": one.reference, "label": one.label}
        for one in (stored, response)
    )
    if different := differences(old, new):
        msg = f"{stored.key} is there as another response: {'; '.join(different)}"
        raise CaptureError(msg)


def mismatch(model: CausalLM, captured: Iterable[ResponseFeatures]) -> Mismatch:
    """Compare captured states with teacher-forced ones of the same responses, in fp32.

    Args:
        model: The one that was served, in the dtype of serving.
        captured: Some responses of a cache.

    Raises:
        CaptureError: There is nothing to compare.
    """
    cosines, largest = [], 0.0
    for one in captured:
        prior, hidden = teacher_forced(model, one.response.prompt_tokens, one.tokens.tolist())
        forced = torch.cat([prior[None], hidden]).float()
        states = torch.cat([one.prior[None], one.hidden]).float()
        cosines.append(cosine_similarity(forced, states))
        largest = max(largest, (forced - states).abs().max().item())
    if not cosines:
        msg = "there is no captured response to compare with"
        raise CaptureError(msg)
    every = torch.cat(cosines)
    return Mismatch(len(every), every.mean().item(), every.min().item(), largest)


@torch.no_grad()
def _sample(model: CausalLM, prompt: list[int], sampling: PrefillSampling) -> list[int]:
    warping: dict[str, object] = {"do_sample": False}
    if sampling.temperature > 0:
        warping = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,  # 50 unless it is given
            "min_p": sampling.min_p or None,
        }
    ids = torch.tensor([prompt], device=model.device)
    mask = torch.ones_like(ids)
    sequence = model.generate(
        ids, attention_mask=mask, max_new_tokens=sampling.max_tokens, **warping
    )
    tokens: list[int] = sequence[0, len(prompt) :].tolist()
    return tokens


def _features(
    model: CausalLM,
    tokenizer: Tokenizer,
    key: ResponseKey,
    prompt: Prompt,
    ids: tuple[list[int], list[int]],
) -> ResponseFeatures:
    _, tokens = ids
    prior, hidden = teacher_forced(model, *ids)
    ends = model.generation_config.eos_token_id
    last = tokens[-1] if tokens else None
    ended = last in ends if isinstance(ends, list) else last is not None and last == ends
    response = Response(
        key=key,
        prompt=prompt.text,
        text=tokenizer.decode(tokens, skip_special_tokens=True),
        finish="stop" if ended else "length",
        reference=prompt.reference,
        prompt_tokens=tuple(ids[0]),
    )
    return ResponseFeatures(response, torch.tensor(tokens, dtype=torch.int32), hidden, prior)
