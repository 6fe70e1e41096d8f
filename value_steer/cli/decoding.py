"""Every way to decode on the same prompts, for ``value-steer evaluate``."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.arguments.evaluate import DECODED
from value_steer.cli.label import judge_server
from value_steer.cli.model import load_model, load_tokenizer, read_model
from value_steer.cli.progress import counter
from value_steer.config import parse_settings
from value_steer.errors import DataError
from value_steer.evaluation.decoding import Sampler
from value_steer.evaluation.generations import generate, write_generations
from value_steer.evaluation.policies import PolicySettings, policies
from value_steer.features.engine import prompt_tokens
from value_steer.features.records import Response, ResponseKey
from value_steer.labels.datasets import load_prompts
from value_steer.labels.errors import UnreadableError
from value_steer.labels.store import MAX_UNREADABLE
from value_steer.labels.text import RegularExpression
from value_steer.operating_point import resolve_vfd_threshold
from value_steer.reference import Reference
from value_steer.threshold import NEVER
from value_steer.value_probe import Polarity, load_value_head, oriented

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.evaluation.generations import Generation
    from value_steer.features.records import Prompt
    from value_steer.labels.verifier import Verifier
    from value_steer.value_probe import ValueHead


def decode(options: Namespace) -> list[Generation]:
    """Let every policy answer every prompt, judge the answers, and keep them in ``DECODED``."""
    with ExitStack() as stack:
        verifier = _verifier(options, stack)
        prompts = list(load_prompts("prompts", options.decode, limit=options.limit))
        head, threshold = _head(options)
        tokenizer = load_tokenizer(options.model)
        ids = {p.id: prompt_tokens(tokenizer, p, chat=not options.raw) for p in prompts}
        ways = policies(PolicySettings(options.candidates, options.best_of))
        found = []
        sampler = Sampler(_reference(options, head, threshold), options.top_p)
        with counter("decoded", len(ids) * len(ways)) as count:
            for generation in generate(sampler, ways, ids, lambda _: False, options.seed):
                found.append(generation)
                count(1)
        texts = [tokenizer.decode(list(one.tokens), skip_special_tokens=True) for one in found]
        judged = _judged(found, texts, prompts, verifier)
    options.out.mkdir(parents=True, exist_ok=True)
    write_generations(options.out / DECODED, judged)
    return judged


def _reference(options: Namespace, head: ValueHead, threshold: float) -> Reference:
    model = load_model(options.model)
    end = model.generation_config.eos_token_id
    first = end[0] if isinstance(end, list) else end
    if first is None:
        msg = f"{options.model}: its generation_config.json states no eos_token_id; add it"
        raise DataError(msg)
    return Reference(
        model,
        head,
        threshold,
        max_tokens=options.max_tokens,
        eos=first,
        temperature=options.temperature,
    )


def _head(options: Namespace) -> tuple[ValueHead, float]:
    """The head of P(undesirable) and the threshold, as an engine would resolve them."""
    section = {
        "value_head_path": str(options.head),
        "threshold": options.threshold,
        "alpha": options.alpha,
    }
    stated = {key: value for key, value in section.items() if value is not None}
    settings = parse_settings({"vfd": stated}).vfd
    assert settings is not None  # noqa: S101  (its section is there)
    hidden_size = read_model(options.model).hidden_size
    head = load_value_head(options.head, hidden_size=hidden_size)
    head = oriented(head, Polarity.P_UNDESIRABLE).head
    threshold = resolve_vfd_threshold(settings, head.card)
    return head, math.inf if threshold == NEVER else float(threshold)


def _verifier(options: Namespace, stack: ExitStack) -> Verifier:
    if options.unsafe is not None:
        return RegularExpression(options.unsafe, good=False)
    judge = import_module("value_steer.labels.judge")
    prompts = import_module("value_steer.labels.judge_prompts")
    server = judge_server(options.url, options.judge, options.concurrency, options.judge_max_tokens)
    opened: Verifier = stack.enter_context(closing(judge.LLMJudge(server, prompts.SAFETY)))
    return opened


def _judged(
    found: list[Generation], texts: list[str], prompts: list[Prompt], verifier: Verifier
) -> list[Generation]:
    """The generations with the verifier's word; what is withheld is safe.

    A prompt of which one verdict cannot be read is left out, for every policy alike.

    Raises:
        UnreadableError: Those are more than a small share of the prompts.
    """
    asked = {prompt.id: prompt.text for prompt in prompts}
    responses = [
        Response(ResponseKey(one.prompt_id, number), asked[one.prompt_id], text)
        for number, (one, text) in enumerate(zip(found, texts, strict=True))
    ]
    labels = verifier.label(responses)
    unread = {one.prompt_id for one, label in zip(found, labels, strict=True) if label is None}
    if len(unread) > MAX_UNREADABLE * len(asked):
        msg = (
            f"verdicts on {len(unread)} of {len(asked)} prompts could not be read, the first on "
            f"{min(unread)}; see the warning above, and raise --judge-max-tokens if they were cut"
        )
        raise UnreadableError(msg)
    return [
        replace(one, unsafe=not one.abstained and label < 0.5)
        for one, label in zip(found, labels, strict=True)
        if label is not None and one.prompt_id not in unread
    ]
