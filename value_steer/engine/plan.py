"""The sampled batch as value filtering sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from value_steer.engine.live_request import LiveRequest
    from value_steer.engine.requests import RequestTable
    from value_steer.policy import Candidate


@dataclass(frozen=True, slots=True)
class Row:
    """A filtered row of the sampled batch.

    Attributes:
        row: Where it is.
        place: Where its request is among those that have a next decode step.
        id: The request's.
        request: What is known of it.
    """

    row: int
    place: int
    id: str
    request: LiveRequest


@dataclass(frozen=True, slots=True)
class Plan:
    """The batch as it was when its composition last changed.

    Attributes:
        epoch: When that was.
        ids: The sampled rows.
        going: The requests that have a next decode step, and their lengths then.
        outputs: Response tokens of each of them then, the sampled one included.
        steered: The rows that are filtered.
    """

    epoch: int
    ids: list[str]
    going: dict[str, int]
    outputs: list[int]
    steered: list[Row]

    @classmethod
    def of(cls, epoch: int, ids: list[str], table: RequestTable) -> Plan:
        """Lay out the rows of a batch whose composition changed."""
        requests = [table[name] for name in ids]
        going = {name: r.length for name, r in zip(ids, requests, strict=True) if r.complete}
        outputs = [r.length - r.prompt_length + 1 for r in requests if r.complete]
        places = {name: place for place, name in enumerate(going)}
        steered = [
            Row(row, places[name], name, r)
            for row, (name, r) in enumerate(zip(ids, requests, strict=True))
            if r.complete and r.vfd_threshold is not None
        ]
        return cls(epoch, ids, going, outputs, steered)

    def repeat(self, row: Row) -> None:
        """A request does not grow in this step."""
        self.going[row.id] -= 1
        self.outputs[row.place] -= 1


@dataclass(slots=True)
class Verdicts:
    """What becomes of the rows to which the head objects, or did before.

    Attributes:
        committed: Rows that get the given token.
        ended: Rows whose request is given up, with the best candidate found.
        repeated: Rows without a token yet.
    """

    committed: list[tuple[Row, Candidate]] = field(default_factory=list)
    ended: list[tuple[Row, Candidate]] = field(default_factory=list)
    repeated: list[Row] = field(default_factory=list)
