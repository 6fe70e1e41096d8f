"""The demonstration from beginning to end."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from value_steer.config import VfdSettings
from value_steer.demo import grammar, language_model, measures, probe, serving
from value_steer.demo.enumerated import Enumerated
from value_steer.demo.job import Job
from value_steer.demo.options import DemoOptions
from value_steer.demo.report import DemoReport, Example, Stage
from value_steer.operating_point import resolve_vfd_threshold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from transformers import MistralForCausalLM

    from value_steer.demo.measures import Pairs
    from value_steer.demo.options import Mode
    from value_steer.demo.report import BoundFigures

logger = logging.getLogger("value_steer")

ALPHAS = (0.01, 0.05, 0.1, 0.25)
"""Levels at which the bound is checked, beside the one that is served."""


def run_demo(options: DemoOptions | None = None) -> DemoReport:
    """Train a language model and its value head, calibrate, serve both modes, and measure.

    Args:
        options: Settings; what is written goes to their ``folder``.

    Raises:
        DemoError: vLLM is asked for and not installed, or its engine failed.
    """
    options = options or DemoOptions()
    serving.require(options.backend)
    options.folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        return _run(options)


def _run(options: DemoOptions) -> DemoReport:
    watch = _Stopwatch()
    with watch.stage("train the language model"):
        model = language_model.train(options.model_steps, options.seed)
        language_model.save(model, options.model_folder)
    with watch.stage("write and label texts"):
        training, calibration, fresh = _texts(options, model)
    with watch.stage("train and calibrate the head"):
        probe.fit_head(model, training, options.seed, options.head_file)
        probe.calibrate_head(model, calibration, options.head_file, _alphas(options))
    with watch.stage("enumerate, and check the bound"):
        known = Enumerated.of(model, options.head_file)
        head = measures.head_figures(fresh, known)
        bound = tuple(_bound(options, alpha, fresh, known) for alpha in _alphas(options))
    with watch.stage("serve with value filtering"):
        filtered = _serve(options, model, fresh, "vfd")
    with watch.stage("serve with abstention"):
        ended = _serve(options, model, fresh, "abstain")
    threshold = next(row.threshold for row in bound if row.alpha == options.alpha)
    policy = known.filtered(threshold, options.num_candidates)
    return DemoReport(
        options=options,
        head=head,
        bound=bound,
        filtering=measures.filter_figures(filtered, known.law, policy),
        abstention=measures.abstain_figures(ended),
        example=_example(filtered, ended),
        stages=tuple(watch.stages),
    )


def _texts(options: DemoOptions, model: MistralForCausalLM) -> list[probe.Texts]:
    """Texts of the model to train on, to calibrate on and to check on; no prompt is in two."""
    counts = (options.training, options.calibration, options.fresh)
    generator = torch.Generator().manual_seed(options.seed)
    prompts = grammar.prompts(sum(counts), generator)
    responses = language_model.sample(model, prompts, options.seed)
    parts, at = [], 0
    for count in counts:
        parts.append(probe.Texts(prompts[at : at + count], responses[at : at + count]))
        at += count
    return parts


def _alphas(options: DemoOptions) -> tuple[float, ...]:
    return tuple(sorted({*ALPHAS, options.alpha}))


def _bound(
    options: DemoOptions, alpha: float, fresh: probe.Texts, known: Enumerated
) -> BoundFigures:
    settings = VfdSettings(options.head_file, alpha=alpha)
    threshold = resolve_vfd_threshold(settings, known.undesirable.card)
    return measures.bound_figures(alpha, threshold, fresh, known)


def _serve(
    options: DemoOptions, model: MistralForCausalLM, fresh: probe.Texts, mode: Mode
) -> Pairs:
    """The first of the fresh prompts, without a mode and with it."""
    prompts = fresh.prompts[: options.served]
    job = Job(
        model=str(options.model_folder),
        prompts=prompts,
        seeds=list(range(len(prompts))),
        max_tokens=grammar.MAX_TOKENS,
        additional_config={mode: options.section(mode)},
    )
    base = serving.serve(serving.unsteered(job, options.backend), options.backend, model)
    return measures.Pairs(prompts, base, serving.serve(job, options.backend, model))


def _example(filtered: Pairs, ended: Pairs) -> Example | None:
    """The first prompt whose text was bad and is good with the filter, and was ended."""
    rows = zip(filtered.prompts, filtered.base, filtered.steered, strict=True)
    for at, (prompt, base, steered) in enumerate(rows):
        if grammar.is_good(steered) and not grammar.is_good(base) and ended.was_ended(at):
            words = (grammar.text(part) for part in (prompt, base, steered, ended.steered[at]))
            return Example(*words)
    return None


@dataclass(slots=True)
class _Stopwatch:
    """Measures how long each part takes."""

    stages: list[Stage] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce and time a part of the run."""
        logger.info("%s ...", name)
        started = time.perf_counter()
        yield
        self.stages.append(Stage(name, time.perf_counter() - started))
