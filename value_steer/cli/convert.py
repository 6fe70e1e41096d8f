"""``value-steer convert``: another package's head, made one of ours."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from value_steer.value_probe import Polarity
from value_steer.value_probe.convert import convert_head
from value_steer.value_probe.layout import named

if TYPE_CHECKING:
    from argparse import Namespace


def run(options: Namespace) -> int:
    """Convert a head and say what it was."""
    done = convert_head(
        options.file,
        options.out,
        scores=None if options.scores is None else Polarity(options.scores),
        activation=options.activation,
        backbone=options.backbone,
    )
    card = done.head.card
    scores = "" if card.scores is None else f", which scores {card.scores.value}"
    lines = [f"{options.file}: {done.kind}, hidden size {card.hidden_size}"]
    if done.left_out:
        lines.append(f"left out, as they belong to no head: {named(done.left_out)}")
    lines.append(f"head: {options.out}{scores}")
    if card.threshold is None:
        lines.append("it has no threshold yet: value-steer calibrate")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
