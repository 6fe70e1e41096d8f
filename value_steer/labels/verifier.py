"""The interface of every source of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

from value_steer.labels.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from value_steer.features.records import Response


Setting: TypeAlias = str | int | float | bool | None
"""One value that labels depend on."""


class Verifier(Protocol):
    """Says how good finished responses are.

    Attributes:
        name: Under which its labels are stored.
        settings: All that its labels depend on beside the responses: stored labels are those of
            a verifier only if these are the same. Where its code decides, a number that changes
            with the code belongs there.
    """

    @property
    def name(self) -> str:
        """Under which its labels are stored."""

    @property
    def settings(self) -> Mapping[str, Setting]:
        """All that its labels depend on beside the responses."""

    def label(self, responses: Sequence[Response]) -> Sequence[float | None]:
        """A label from 0 to 1 for each response; 1 is good: correct, safe.

        ``None`` says that no verdict could be read; it is never taken for a label.

        Raises:
            ValueSteerError: One of them cannot be labelled.
        """


def reference_of(response: Response) -> str:
    """The answer that a response is compared with.

    Raises:
        LabelError: Its data set gives none.
    """
    if response.reference is None:
        msg = (
            f"response {response.key} has no reference to compare with; capture from a data set "
            "that has answers, or label with a judge or a pattern"
        )
        raise LabelError(msg)
    return response.reference
