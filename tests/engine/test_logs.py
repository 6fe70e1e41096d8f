"""What value-steer says reaches the log of vLLM, whatever the root logger is set to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from value_steer.engine.logs import adopt_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@pytest.fixture
def host() -> Iterator[_Kept]:
    """VLLM's own handler, in a process whose root logger says errors only, as its server's does."""
    ours, theirs, root = map(logging.getLogger, ("value_steer", "vllm", None))
    before = [(one, one.handlers[:], one.level, one.propagate) for one in (ours, theirs, root)]
    kept = _Kept()
    ours.handlers, theirs.handlers = [], [kept]
    ours.setLevel(logging.NOTSET)
    theirs.setLevel(logging.INFO)
    root.setLevel(logging.ERROR)
    yield kept
    for one, handlers, level, propagate in before:
        one.handlers, one.propagate = handlers, propagate
        one.setLevel(level)


def test_warnings_go_where_the_hosts_go(host: _Kept) -> None:
    """Once each, and nothing that the host would not say."""
    ours = logging.getLogger("value_steer")
    ours.warning("lost")
    adopt_logging()
    adopt_logging()

    ours.warning("an outcome did not come")
    ours.debug("details")

    assert host.said == ["an outcome did not come"]


def test_a_record_is_said_by_one_handler(host: _Kept) -> None:
    """By the host's, or by the root's where the host has none; never by both."""
    ours, root = logging.getLogger("value_steer"), _Kept()
    logging.getLogger().addHandler(root)
    adopt_logging()
    ours.warning("of a host that has a handler")
    assert (host.said, root.said) == (["of a host that has a handler"], [])

    ours.handlers, logging.getLogger("vllm").handlers = [], []
    adopt_logging()
    ours.warning("of a host that has none")

    assert root.said == ["of a host that has none"]


def test_what_an_operator_set_up_is_left_alone(host: _Kept) -> None:
    """A handler of their own."""
    own = _Kept()
    logging.getLogger("value_steer").addHandler(own)
    adopt_logging()

    logging.getLogger("value_steer").error("an outcome did not come")

    assert (own.said, host.said) == (["an outcome did not come"], [])
