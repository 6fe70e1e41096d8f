"""``value-steer label``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.progress import counter
from value_steer.features import FeatureCache
from value_steer.labels.run import LabelTask, label_folder

if TYPE_CHECKING:
    from argparse import Namespace

    from value_steer.labels.judge import JudgeServer

API_KEY = "OPENAI_API_KEY"
"""The variable of the environment that holds the judge's key."""


def run(options: Namespace) -> int:
    """Label what has no label yet, and say how many are good."""
    task = LabelTask(
        options.features,
        options.by,
        judge=(
            None
            if options.url is None
            else judge_server(options.url, options.model, options.concurrency)
        ),
        pattern=options.pattern,
        pattern_is_bad=options.bad,
        file=options.file,
        column=options.column,
    )
    with counter("labelled", len(FeatureCache.open(options.features))) as count:
        found = label_folder(task, after_batch=count)
    sys.stdout.write(f"{found.responses} labels {found.name!r}, {found.mean:.3f} good on average\n")
    return 0


def judge_server(url: str, model: str | None, concurrency: int) -> JudgeServer:
    """Where the judge is, with the key that the environment holds."""
    judge = import_module("value_steer.labels.judge")
    server: JudgeServer = judge.JudgeServer(
        url, model, api_key=os.environ.get(API_KEY, "none"), concurrency=concurrency
    )
    return server
