"""``value-steer doctor``: what is installed, what the evidence says of it, whether a head fits."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from value_steer.cli.checks import CheckResult, environment, installed, of_head, serving
from value_steer.cli.model import read_model
from value_steer.cli.one_line import one_line
from value_steer.records.codec import encode
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from value_steer.cli.checks import Check

_WIDTH = max(len(outcome.value) for outcome in CheckResult)


def run(options: Namespace) -> int:
    """Print what was found.

    Returns:
        1 if something would not work here, else 0.

    Raises:
        ValueSteerError: The head or the model cannot be read, or they do not fit.
    """
    model = None if options.model is None else read_model(options.model)
    checks = [*installed(), *environment(), *serving(model)]
    if options.head is not None:
        head = load_value_head(options.head, hidden_size=model.hidden_size if model else None)
        checks += of_head(head, options.head, options.model)
    failed = sum(check.outcome is CheckResult.FAILED for check in checks)
    if options.json:
        body = {"ok": not failed, "checks": [encode(check) for check in checks]}
        sys.stdout.write(json.dumps(body, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join((*map(_line, checks), _summary(checks, failed))) + "\n")
    return 1 if failed else 0


def _line(check: Check) -> str:
    remedy = "" if check.remedy is None else f"; {check.remedy}"
    told = one_line(f"{check.name}: {check.detail}{remedy}")
    return f"{check.outcome.value:<{_WIDTH}}  {told}"


def _summary(checks: Sequence[Check], failed: int) -> str:
    return f"{failed} of {len(checks)} checks failed" if failed else "nothing here would fail"
