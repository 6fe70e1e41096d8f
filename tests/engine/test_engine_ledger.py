"""What value filtering did to a request is in its outcome."""

from __future__ import annotations

from tests.engine.live import live
from value_steer.engine.ledger import Ledger
from value_steer.engine.search import Filtered


def test_what_filtering_did_is_told_per_request() -> None:
    """Tokens that were exchanged, found unacceptable, or served without a judgement."""
    ledger = Ledger()
    done = Filtered(interventions=3, no_acceptable=2, unscored=1, p_undesirable=0.25)

    ledger.close("a", live(filtered=done))
    ledger.close("b", live(vfd_threshold=None))

    filtered, other = ledger.outcomes()
    assert (filtered.interventions, filtered.no_acceptable, filtered.unscored) == (3, 2, 1)
    assert (filtered.p_undesirable, filtered.vfd_threshold) == (0.25, 0.5)
    assert (other.unscored, other.p_undesirable, other.vfd_threshold) == (0, None, None)
    assert not filtered.abstained


def test_a_request_that_filtering_ends_reads_as_ended_by_the_head() -> None:
    """The outcome has the tokens kept and the value of the best candidate."""
    ledger = Ledger()
    ledger.end("a", 7, 0.25)
    ledger.end("a", 8, 0.5)  # the first one counts

    ledger.close("a", live())

    (outcome,) = ledger.outcomes()
    assert (outcome.abstained, outcome.response_tokens, outcome.value) == (True, 7, 0.25)
    assert ledger.counters.abstained == 1
