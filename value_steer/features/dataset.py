"""A feature cache as a data set of torch, and as padded batches for training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from value_steer.features.errors import FeatureCacheError
from value_steer.value_probe.card import Polarity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from value_steer.features.cache import FeatureCache
    from value_steer.features.records import Response, ResponseFeatures, ResponseKey
    from value_steer.features.shards import Shard


class Example(NamedTuple):
    """One labelled response."""

    features: ResponseFeatures
    label: float


class FeatureBatch(NamedTuple):
    """Responses of a batch, padded on the right to the longest.

    Attributes:
        hidden: ``[B, T, H]``, the state after each response token, in the cache's dtype.
        mask: ``[B, T]`` bool, false on padding.
        labels: ``[B]`` fp32.
        prior: ``[B, H]``, the state at the last position of the prompt.
        keys: Which responses.
    """

    hidden: Tensor
    mask: Tensor
    labels: Tensor
    prior: Tensor
    keys: tuple[ResponseKey, ...]


class FeatureDataset(Dataset[Example]):
    """The labelled responses of a cache, read from disk one by one.

    Args:
        cache: Where they are.
        labels: One per response, 1 is good; by default those stored with them. A response whose
            label is ``None``, because its verdict could not be read, is left out.
        scores: What a label of 1 means in the batches: what the head in training is to score.
        keep: Which prompts, by id; by default all. Split by prompt with it.

    Raises:
        FeatureCacheError: A response that is kept has no label, or none is kept.
    """

    def __init__(
        self,
        cache: FeatureCache,
        labels: Mapping[ResponseKey, float | None] | None = None,
        keep: Callable[[str], bool] | None = None,
        scores: Polarity = Polarity.P_GOOD,
    ) -> None:
        self._cache = cache
        self._places: list[tuple[Shard, int, float]] = []
        unlabelled: list[ResponseKey] = []
        for shard in cache.shards:
            for place, response in enumerate(cache.responses(shard)):
                if keep is not None and not keep(response.key.prompt_id):
                    continue
                label = _label(response, labels)
                if label is None:
                    if labels is None or response.key not in labels:
                        unlabelled.append(response.key)
                else:
                    turned = label if scores is Polarity.P_GOOD else 1.0 - label
                    self._places.append((shard, place, turned))
        if unlabelled:
            msg = (
                f"{cache.folder}: {len(unlabelled)} responses without a label, the first "
                f"{unlabelled[0]}; label them with value-steer label, or pass labels"
            )
            raise FeatureCacheError(msg)
        if not self._places:
            msg = f"{cache.folder}: no response of its {len(cache)} is kept"
            raise FeatureCacheError(msg)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Example:
        shard, place, label = self._places[index]
        return Example(self._cache.features(shard, place), label)


def collate(examples: Sequence[Example]) -> FeatureBatch:
    """Pad examples into one batch."""
    features = [example.features for example in examples]
    lengths = torch.tensor([len(one.tokens) for one in features])
    hidden = pad_sequence([one.hidden for one in features], batch_first=True)
    return FeatureBatch(
        hidden=hidden,
        mask=torch.arange(hidden.shape[1]) < lengths[:, None],
        labels=torch.tensor([example.label for example in examples], dtype=torch.float32),
        prior=torch.stack([one.prior for one in features]),
        keys=tuple(one.response.key for one in features),
    )


def loader(
    dataset: FeatureDataset, batch_size: int, *, shuffle_seed: int | None = None, workers: int = 0
) -> DataLoader[FeatureBatch]:
    """Batches of a data set, in its order or shuffled anew in every epoch.

    Args:
        dataset: What to read.
        batch_size: Responses per batch.
        shuffle_seed: Seed of the shuffling; ``None`` keeps the order.
        workers: Processes that read.
    """
    generator = None if shuffle_seed is None else torch.Generator().manual_seed(shuffle_seed)
    batches: DataLoader[FeatureBatch] = DataLoader(
        dataset,  # type: ignore[arg-type]  # the collation makes batches of examples
        batch_size=batch_size,
        shuffle=generator is not None,
        generator=generator,
        num_workers=workers,
        collate_fn=collate,
    )
    return batches


def _label(response: Response, labels: Mapping[ResponseKey, float | None] | None) -> float | None:
    return response.label if labels is None else labels.get(response.key)
