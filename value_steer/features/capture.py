"""Sampling responses in the serving engine and keeping the hidden states that it computed."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from value_steer.features.engine import prompt_tokens
from value_steer.features.errors import CaptureError
from value_steer.features.keys import CAPTURE_KEY
from value_steer.features.present import Present
from value_steer.features.records import Prompt, Response, ResponseKey
from value_steer.features.shards import StoredTensors, store_words
from value_steer.value_probe import HeadCard, Polarity, ValueHead, save_value_head
from value_steer.value_probe.fingerprint import SettingsFingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from value_steer.features.cache import FeatureCache
    from value_steer.features.engine import Engine, Sampling
    from value_steer.features.shards import Shard

WORKER = "value_steer.features.worker.CapturingWorker"
_STEERING_KEYS = ("abstain_", "vfd_", "steer")


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """How prompts become responses.

    Attributes:
        samples: Responses to each prompt.
        batch: Responses per call of the engine, which make up one shard. Their states wait in
            host memory: ``batch * max_tokens * H`` numbers.
        chat: Put the prompt through the model's chat template as a user's turn.
        seed: Every response has a seed of its own made from this and its key, so that a run that
            is resumed gives what an uninterrupted one gives. ``None`` leaves the drawing to the
            engine; vLLM on a CPU fails on seeded requests whose prefill it does in chunks.
    """

    samples: int = 1
    batch: int = 256
    chat: bool = True
    seed: int | None = 0


def engine_options(folder: str | os.PathLike[str], hidden_size: int) -> dict[str, object]:
    """The keyword arguments that let ``vllm.LLM`` capture.

    Args:
        folder: Where to put the head that never objects.
        hidden_size: Of the model.
    """
    head = ValueHead(hidden_size)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    path = Path(folder) / "neutral-head.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_value_head(path, head, HeadCard(hidden_size, scores=Polarity.P_UNDESIRABLE))
    # It gives 0.5 everywhere, which this threshold accepts.
    vfd = {"value_head_path": str(path), "threshold": 0.75, "num_candidates": 1}
    return {"worker_cls": WORKER, "additional_config": {"vfd": vfd}, "async_scheduling": False}


def sampling_settings(
    sampling: Sampling, *, model: str, chat_template: str | None, dtype: str, engine: str
) -> SettingsFingerprint:
    """The settings that the responses will depend on, to be kept with their features.

    Args:
        sampling: Of all requests.
        model: Identifier of the model.
        chat_template: Its text; ``None`` for raw prompts.
        dtype: Of the model's weights.
        engine: Name and version: ``vllm 0.28.0``.
    """
    digest = hashlib.sha256((chat_template or "").encode()).hexdigest()
    return SettingsFingerprint(
        model=model,
        chat_template="none" if chat_template is None else digest,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=max(0, sampling.top_k),
        min_p=sampling.min_p,
        max_tokens=sampling.max_tokens,
        dtype=dtype,
        engine=engine,
    )


def capture(  # noqa: PLR0913  (what to capture, and who is told)
    engine: Engine,
    sampling: Sampling,
    prompts: Iterable[Prompt],
    cache: FeatureCache,
    plan: CapturePlan | None = None,
    *,
    after_batch: Callable[[int], None] | None = None,
) -> int:
    """Sample responses and append their features to a cache; what is there already is skipped.

    Args:
        engine: A ``vllm.LLM`` made with :func:`engine_options`.
        sampling: A ``vllm.SamplingParams`` that holds for all.
        prompts: What to answer.
        cache: Where the features go.
        plan: How many responses, and how.
        after_batch: Called with the number of responses that have just been stored.

    Returns:
        How many responses were added.

    Raises:
        CaptureError: The sampling cannot be captured, the states that came are not those of the
            responses, or what is there answers another prompt of the same id.
    """
    plan = plan or CapturePlan()
    _require_plain(sampling, plan)
    tokenizer = engine.get_tokenizer()
    present = Present(cache, tokenizer, chat=plan.chat)
    added = 0
    for batch in _batches(prompts, plan, present):
        ids = [prompt_tokens(tokenizer, prompt, chat=plan.chat) for _, prompt in batch]
        answers = engine.generate(
            [{"prompt_token_ids": tokens} for tokens in ids],
            [_sampling(sampling, key, plan.seed) for key, _ in batch],
            use_tqdm=False,
        )
        outputs = [answer.outputs[0] for answer in answers]
        responses = [
            Response(
                key=key,
                prompt=prompt.text,
                text=output.text,
                finish=output.finish_reason,
                reference=prompt.reference,
                prompt_tokens=tuple(tokens),
            )
            for (key, prompt), tokens, output in zip(batch, ids, outputs, strict=True)
        ]
        tokens = [list(output.token_ids) for output in outputs]
        cache.enter([_shard(engine, cache, responses, tokens)])
        added += len(batch)
        if after_batch is not None:
            after_batch(len(batch))
    return added


_Job = tuple[ResponseKey, Prompt]


def _batches(
    prompts: Iterable[Prompt], plan: CapturePlan, present: Present
) -> Iterator[list[_Job]]:
    jobs = (
        (key, prompt)
        for prompt in prompts
        for sample in range(plan.samples)
        if not present.holds(key := ResponseKey(prompt.id, sample), prompt)
    )
    while batch := list(islice(jobs, plan.batch)):
        yield batch


def _sampling(sampling: Sampling, key: ResponseKey, seed: int | None) -> Sampling:
    own = copy.deepcopy(sampling)
    if seed is not None:
        digest = hashlib.sha256(f"{seed} {key.sample} {key.prompt_id}".encode()).digest()
        own.seed = int.from_bytes(digest[:4], "big") >> 1
    own.extra_args = {**(own.extra_args or {}), CAPTURE_KEY: _name(key)}
    return own


def _name(key: ResponseKey) -> str:
    return f"{key.sample}#{key.prompt_id}"


def _require_plain(sampling: Sampling, plan: CapturePlan) -> None:
    steering = [key for key in sampling.extra_args or {} if key.startswith(_STEERING_KEYS)]
    checks = {
        f"n is {sampling.n}: ask for several responses with samples": sampling.n != 1,
        f"extra_args hold {', '.join(steering)}: what is captured is not steered": steering,
        "a greedy model gives the same response every time: raise temperature, or ask for one "
        "sample": sampling.temperature == 0 and plan.samples > 1,
    }
    if found := [why for why, wrong in checks.items() if wrong]:
        msg = f"these sampling parameters cannot be captured: {'; '.join(found)}"
        raise CaptureError(msg)


def _shard(
    engine: Engine, cache: FeatureCache, responses: Sequence[Response], tokens: list[list[int]]
) -> Shard:
    lengths = [len(response) for response in tokens]
    keys = [_name(response.key) for response in responses]
    written = engine.collective_rpc(
        "write_captured", args=(str(cache.folder), cache.spec.dtype, keys, lengths)
    )
    name, checksum = next(reply for reply in written if reply is not None)
    _require_same(cache, name, [token for response in tokens for token in response])
    return store_words(cache.folder, StoredTensors(name, checksum, tuple(lengths)), responses)


def _require_same(cache: FeatureCache, name: str, tokens: list[int]) -> None:
    """Check that the worker's states belong to the tokens that the engine gave out."""
    file = cache.folder / f"{name}.safetensors"
    with safe_open(file, framework="pt", device="cpu") as tensors:
        same = tensors.get_tensor("token_ids").tolist() == tokens
        size = tensors.get_slice("hidden").get_shape()[1]
    if not same or size != cache.spec.hidden_size:
        msg = (
            f"{file}: the hidden states, of size {size}, are not those of the responses; was the "
            "engine used by others meanwhile?"
        )
        raise CaptureError(msg)
