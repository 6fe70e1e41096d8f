"""What workers know of the ledger, which is the scheduler's."""

from __future__ import annotations

from types import SimpleNamespace

from tests.engine.scheduling.ledgers import STEERED, close
from value_steer.engine.delivery.report import Ending, StepReport
from value_steer.engine.scheduling.mirror import Mirror, News, open_ledger, tell
from value_steer.engine.scheduling.outcomes import Counters


def test_a_worker_in_the_same_process_reads_the_ledger_itself() -> None:
    """One elsewhere believes what the messages say."""
    near, far = Mirror("near"), Mirror("far")
    assert (near.counters, near.outcomes(), far.answers(["a"])) == (Counters(), [], {})
    ledger = open_ledger("near")
    ledger.take(StepReport({"a": STEERED}), ["a"])
    outcome = close(ledger, "a", Ending.ABSTAINED)
    step = SimpleNamespace()
    tell(step, News([outcome], ledger.counters))

    far.take(SimpleNamespace())
    assert far.outcomes() == []
    far.take(step)
    for mirror in (near, far):
        assert mirror.outcomes() == [outcome]
        assert mirror.outcomes(["b"]) == []
        assert mirror.counters.abstained == 1
        assert mirror.answers(["a", "b"]) == {"a": {0: outcome}}

    near.take(SimpleNamespace(value_steer_news=News([], Counters())))
    assert near.counters.abstained == 1, "it does not believe what it can see itself"
