"""A count of what is done, on a terminal's standard error."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from value_steer.training.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def counter(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Called with how many more are done; silent where nobody watches."""
    done = 0
    with progress_bar(total, shown=sys.stderr.isatty()) as advance:

        def count(more: int) -> None:
            nonlocal done
            done += more
            advance(done, what)

        yield count
