"""A head's values along the responses of a cache, as the file that calibration reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from value_steer.features.errors import FeatureCacheError
from value_steer.trajectories import (
    Trajectory,
    TrajectoryHeader,
    write_trajectories,
)
from value_steer.value_probe import Polarity
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from value_steer.features.cache import FeatureCache
    from value_steer.features.records import ResponseFeatures, ResponseKey
    from value_steer.value_probe import ValueHead


@torch.no_grad()
def score(
    head: ValueHead,
    features: Iterable[ResponseFeatures],
    labels: Mapping[ResponseKey, float | None] | None = None,
) -> Iterator[Trajectory]:
    """The head's probability after every response token, and at the end of the prompt.

    Args:
        head: Of the hidden size of the features.
        features: Of some responses; one without tokens is left out.
        labels: One per response, 1 is good; by default those stored with them. A trajectory has
            its label in the head's own polarity. A response whose label is ``None``, because its
            verdict could not be read, is left out.

    Raises:
        FeatureCacheError: A response has no label, or the head does not say what it scores.
    """
    scores = _polarity(head)
    for one in features:
        response = one.response
        label = response.label if labels is None else labels.get(response.key)
        if label is None and labels is not None and response.key in labels:
            continue
        if label is None:
            msg = f"response {response.key} has no label; label the cache first, or pass labels"
            raise FeatureCacheError(msg)
        if len(one.tokens):
            states = torch.cat([one.prior[None], one.hidden]).to(head.device)
            values = head.p(states).cpu().numpy()
            yield Trajectory(
                prompt_id=response.key.prompt_id,
                values=values[1:],
                label=label if scores is Polarity.P_GOOD else 1.0 - label,
                prior=float(values[0]),
                prompt=response.prompt,
                response=response.text,
            )


def write_scores(
    path: str | os.PathLike[str],
    head: ValueHead,
    cache: FeatureCache,
    labels: Mapping[ResponseKey, float | None] | None = None,
    keep: Callable[[str], bool] | None = None,
) -> None:
    """Write the trajectories of a cache.

    Args:
        path: Of the file, which is replaced atomically.
        head: Its card says what it scores.
        cache: Whose responses to score.
        labels: See :func:`score`.
        keep: Which prompts, by id; by default all. Calibrate on others than were trained on.

    Raises:
        FeatureCacheError: A response has no label, or the head does not say what it scores.
    """
    header = TrajectoryHeader(_polarity(head), cache.spec.settings, weights_digest(head))
    kept = (one for one in cache if keep is None or keep(one.response.key.prompt_id))
    write_trajectories(path, header, score(head, kept, labels))


def _polarity(head: ValueHead) -> Polarity:
    if head.card.scores is None:
        msg = 'the head does not say what it scores; set "scores" in its sidecar'
        raise FeatureCacheError(msg)
    return head.card.scores
