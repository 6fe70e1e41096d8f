"""``report``: the compatibility page."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from compat.checkout import ROOT
from compat.errors import ExitCode
from compat.registry import store
from compat.release import inventory
from compat.releases import upstream
from compat.report import page
from compat.report.states import Yardstick
from value_steer import versions
from value_steer.cli.arguments.types import PATH
from value_steer.cli.places import NEW_FILE
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    import argparse

    from compat.commands.options import Menu
    from compat.console import Progress


def add(menu: Menu) -> None:
    """Put the command on the menu."""
    report = menu.add_parser("report", help="write the compatibility page, one file of HTML")
    report.add_argument("--out", type=PATH, default=Path("out/report/index.html"), help="the file")
    report.set_defaults(command=write_report, places={"--out": NEW_FILE})


def write_report(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Write the page from the registry, its history and what is known of the releases."""
    known = inventory.load(ROOT, arguments.registry)
    yardstick = Yardstick(
        engine_digest=versions.engine_digest(ROOT / "value_steer"),
        now=datetime.now(timezone.utc),
        fresh_days=known.rules.release.fresh_days,
    )
    history = store.load_history(arguments.registry)
    text = page.render(known.shown(yardstick, history, upstream.load()))
    write_atomically(arguments.out, text.encode())
    progress.note(f"{len(known.known)} releases in {arguments.out}, {len(text) / 1024:.0f} KiB")
    return ExitCode.PASSED
