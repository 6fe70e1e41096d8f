"""Output for the person at the terminal while long steps run."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_QUIET_SECONDS = 20.0
_TAIL_LINES = 25


class Progress:
    """Announces steps, shows that they live, and says how long they took."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._errors = console or Console(highlight=False, soft_wrap=True, stderr=True)

    def note(self, text: str) -> None:
        """One line of information."""
        self.console.print(f"  {escape(text)}")

    def problem(self, text: str) -> None:
        """Why a command stops."""
        self._errors.print(f"error: {text}", style="red", markup=False)

    @contextlib.contextmanager
    def step(self, title: str, log: Path) -> Iterator[None]:
        """Show a step while it runs; if it raises, show the end of its log."""
        start = time.monotonic()
        self.console.print(f"[bold]•[/bold] {escape(title)}")
        try:
            with self._alive(start, log):
                yield
        except BaseException:
            where = escape(str(log))
            self.console.print(f"  [red]stopped[/red] after {_elapsed(start)}, log: {where}")
            self.show_tail(log)
            raise
        self.console.print(f"  done in {_elapsed(start)}")

    def show_tail(self, log: Path) -> None:
        """Print the last lines of a log."""
        if log.exists():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in lines[-_TAIL_LINES:]:
                self.console.print(f"    {line[:200]}", markup=False, style="dim")

    @contextlib.contextmanager
    def _alive(self, start: float, log: Path) -> Iterator[None]:
        """A spinner on a terminal; a line now and then in a log file."""
        if self.console.is_terminal:
            with self.console.status("working"):
                yield
            return
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(done, start, log), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat(self, done: threading.Event, start: float, log: Path) -> None:
        while not done.wait(_QUIET_SECONDS):
            last = _last_line(log)
            self.console.print(f"  … {_elapsed(start)}  {last}", markup=False, style="dim")


def _elapsed(start: float) -> str:
    return f"{time.monotonic() - start:.0f} s"


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    return lines[-1].strip()[:120] if lines else ""
