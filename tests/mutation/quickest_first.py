"""A pytest plug-in: the quickest tests first, by the times that mutmut took of them.

Most mutants are found by a test of a few milliseconds; mutmut gives no order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

_STATISTICS = "mutmut-stats.json"  # in the folder that mutmut runs the tests in


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort the tests; one that was never timed comes first."""
    seconds = dict(_timed())
    items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))


def _timed() -> Iterator[tuple[str, float]]:
    path = Path(_STATISTICS)
    if path.exists():  # not before mutmut has timed the tests
        yield from json.loads(path.read_text(encoding="utf-8"))["duration_by_test"].items()
