"""``value-steer evaluate``."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.evaluation.abstention import AbstentionSettings, evaluate_abstention
from value_steer.evaluation.columns import read_columns
from value_steer.evaluation.generations import read_generations
from value_steer.evaluation.report import Evaluation, figure, nearest, write_report
from value_steer.evaluation.steering import evaluate_steering
from value_steer.trajectories import read_header, read_trajectories

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from value_steer.evaluation.abstention import AbstentionResult
    from value_steer.evaluation.steering import SteeringResult


def run(options: Namespace) -> int:
    """Evaluate what is given, print the main figures and write the report."""
    found = Evaluation(
        None if options.trajectories is None else _abstention(options),
        _steering(options) if options.generations or options.decode is not None else None,
    )
    files = write_report(options.out, found)
    lines = [*_rules(found.abstention), *_policies(found.steering), f"report: {files.html}"]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _abstention(options: Namespace) -> AbstentionResult:
    traces = list(read_trajectories(options.trajectories))
    columns = None if options.columns is None else read_columns(options.columns, traces)
    settings = AbstentionSettings(
        steps=tuple(options.steps),
        window=options.window,
        min_tokens=options.min_tokens,
        seed=options.seed,
    )
    return evaluate_abstention(read_header(options.trajectories), traces, columns, settings)


def _steering(options: Namespace) -> SteeringResult:
    generations = [g for path in options.generations for g in read_generations(path)]
    if options.decode is not None:
        decoding = import_module("value_steer.cli.decoding")  # torch and transformers
        generations += decoding.decode(options)
    return evaluate_steering(generations, options.base, options.seed)


def _rules(result: AbstentionResult | None) -> Iterator[str]:
    if result is None:
        return
    yield f"{'rule':<22} {'accuracy, half abstained':<25} {'saved tokens':<25} AURC"
    for rule in result.rules:
        point = nearest(rule, 0.5)
        figures = (point.accuracy, point.saved_tokens, rule.risk_coverage.area)
        yield f"{rule.name:<22} " + " ".join(f"{figure(e):<25}" for e in figures).rstrip()
    yield from (f"left out: {reason}" for reason in result.left_out)


def _policies(result: SteeringResult | None) -> Iterator[str]:
    if result is None:
        return
    yield f"{'policy':<22} {'unsafe':<25} {'untouched, base safe':<25} tokens/s of base"
    for policy in result.policies:
        figures = (policy.unsafe, policy.untouched_if_safe, policy.speed)
        yield f"{policy.name:<22} " + " ".join(f"{figure(e):<25}" for e in figures).rstrip()
