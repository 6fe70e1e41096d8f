"""``value-steer demo``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.demo import Backend, DemoOptions, run_demo
from value_steer.demo.table import show

if TYPE_CHECKING:
    from argparse import Namespace


def run(options: Namespace) -> int:
    """Run the demonstration and print what it found."""
    backend = Backend.installed() if options.backend is None else Backend(options.backend)
    settings = DemoOptions(
        folder=options.out, seed=options.seed, backend=backend, alpha=options.alpha
    )
    show(run_demo(settings))
    return 0
