"""``value-steer label``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

from value_steer.cli.progress import counter
from value_steer.features import FeatureCache
from value_steer.labels.replies import Form
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
            else judge_server(
                options.url,
                options.model,
                options.concurrency,
                options.max_tokens,
                None if options.form == "auto" else options.form,
            )
        ),
        pattern=options.pattern,
        pattern_is_bad=options.bad,
        file=options.file,
        column=options.column,
        name=options.name,
        again=options.again,
        max_unreadable=options.max_unreadable,
    )
    with counter("labelled", len(FeatureCache.open(options.features))) as count:
        found = label_folder(task, after_batch=count)
    unreadable = f"; {found.unreadable} unreadable" if found.unreadable else ""
    sys.stdout.write(
        f"{found.responses} labels {found.name!r}, {found.mean:.3f} good on average{unreadable}\n"
    )
    return 0


def judge_server(
    url: str, model: str | None, concurrency: int, max_tokens: int, form: str | None = None
) -> JudgeServer:
    """Where the judge is, with the key that the environment holds."""
    judge = import_module("value_steer.labels.judge")
    server: JudgeServer = judge.JudgeServer(
        url,
        model,
        api_key=os.environ.get(API_KEY, "none"),
        concurrency=concurrency,
        max_tokens=max_tokens,
        form=None if form is None else Form(form),
    )
    return server
