"""``value-steer label``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.progress import counter
from value_steer.errors import SettingsError
from value_steer.features import FeatureCache
from value_steer.labels.store import label_cache, label_file
from value_steer.labels.text import ExactMatch, RegularExpression

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.labels.verifier import Verifier

API_KEY = "OPENAI_API_KEY"
"""The variable of the environment that holds the judge's key."""


def run(options: Namespace) -> int:
    """Label what has no label yet, and say how many are good."""
    cache = FeatureCache.open(options.features)
    verifier = _verifier(options)
    with counter("labelled", len(cache)) as count:
        labels = label_cache(cache, verifier, after_batch=count)
    good = sum(labels.values()) / max(1, len(labels))
    sys.stdout.write(
        f"{len(labels)} labels {verifier.name!r}, {good:.3f} good on average: "
        f"{label_file(cache, verifier.name)}\n"
    )
    return 0


def _verifier(options: Namespace) -> Verifier:
    if options.by == "exact":
        return ExactMatch(options.name or "exact")
    if options.by == "regex":
        if options.pattern is None:
            msg = "--by regex needs --pattern"
            raise SettingsError(msg)
        return RegularExpression(
            options.pattern, good=not options.bad, name=options.name or "regex"
        )
    if options.by == "maths":
        maths = import_module("value_steer.labels.maths")
        equality: Verifier = maths.MathsEquality(name=options.name or "maths")
        return equality
    return _judge(options)


def _judge(options: Namespace) -> Verifier:
    if options.url is None:
        msg = f"--by {options.by} needs --url, the endpoint of the judge"
        raise SettingsError(msg)
    judges = import_module("value_steer.labels.judge")
    prompts = import_module("value_steer.labels.judge_prompts")
    server = judges.JudgeServer(
        options.url,
        options.model,
        api_key=os.environ.get(API_KEY, "none"),
        concurrency=options.concurrency,
    )
    judge: Verifier = judges.LLMJudge(server, getattr(prompts, options.by.upper()))
    return judge
