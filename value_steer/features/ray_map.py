"""Capturing and scoring on more than one machine: Ray Data over replicas of the engine.

The folder of the cache must be shared by the machines. Only names and values go through Ray; the
hidden states are written by the replicas, and every shard counts as soon as it is whole.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import ray.data

from value_steer.features.cache import FeatureCache
from value_steer.features.capture import CapturePlan, capture
from value_steer.features.errors import CaptureError
from value_steer.features.records import Prompt, ResponseKey
from value_steer.features.scoring import score
from value_steer.trajectories import Trajectory
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from value_steer.features.engine import Engine, Sampling

    Columns = dict[str, NDArray[Any]]


class EngineFactory(Protocol):
    """Makes an engine and its sampling parameters where a replica runs; it must be picklable."""

    def __call__(self) -> tuple[Engine, Sampling]:
        """A ``vllm.LLM`` made with ``engine_options`` and a ``vllm.SamplingParams``."""


@dataclass(frozen=True, slots=True)
class Replicas:
    """The replicas that run the steps.

    Attributes:
        count: Replicas at a time.
        cpus: For each.
        gpus: For each.
    """

    count: int = 1
    cpus: float = 1
    gpus: float = 0


class CaptureReplica:
    """One engine, which answers batches of prompts."""

    def __init__(self, make_engine: EngineFactory, folder: Path, plan: CapturePlan) -> None:
        self._engine, self._sampling = make_engine()
        self._cache = FeatureCache.open(folder)
        self._plan = plan

    def __call__(self, batch: Columns) -> Columns:
        """Capture the responses to a batch of prompts, each in JSON; its rows are their ids."""
        bodies = [json.loads(body) for body in batch["prompt"]]
        prompts = [Prompt(**body | {"history": tuple(body["history"])}) for body in bodies]
        capture(self._engine, self._sampling, prompts, self._cache, self._plan)
        return {"prompt_id": np.array([prompt.id for prompt in prompts], dtype=object)}


class ScoreReplica:
    """One head, which scores shards."""

    def __init__(
        self, head_path: Path, folder: Path, labels: Mapping[ResponseKey, float | None] | None
    ) -> None:
        self._head = load_value_head(head_path)
        self._cache = FeatureCache.open(folder)
        self._labels = labels

    def __call__(self, batch: Columns) -> Columns:
        """The trajectories of the shards named in a batch; its rows are their fields."""
        names = set(batch["name"].tolist())
        features = (
            self._cache.features(shard, place)
            for shard in self._cache.shards
            if shard.name in names
            for place in range(shard.responses)
        )
        scored = list(score(self._head, features, self._labels))
        return {name: _column([getattr(one, name) for one in scored]) for name in _FIELDS}


def capture_on_replicas(
    make_engine: EngineFactory,
    prompts: Iterable[Prompt],
    cache: FeatureCache,
    plan: CapturePlan,
    replicas: Replicas,
) -> FeatureCache:
    """Capture the responses to prompts with several engines; what is there already is skipped.

    Args:
        make_engine: Called once in every replica.
        prompts: What to answer.
        cache: Where the features go, in a folder that all machines see.
        plan: How many responses, and how.
        replicas: What to run.

    Returns:
        The cache as it is then.

    Raises:
        CaptureError: A replica gave back other prompts than it got.
    """
    present = {one.key: one for shard in cache.shards for one in cache.responses(shard)}
    wanted = []
    for prompt in prompts:
        stored = [present.get(ResponseKey(prompt.id, sample)) for sample in range(plan.samples)]
        # A replica says how a stored answer's prompt differs; here it is only not passed over.
        same = (
            one and (one.prompt, one.reference) == (prompt.text, prompt.reference) for one in stored
        )
        if not all(same):
            wanted.append(prompt)
    if wanted:
        size = max(1, plan.batch // plan.samples)
        rows = ray.data.from_items(
            [{"prompt": json.dumps(asdict(prompt))} for prompt in wanted],
            override_num_blocks=-(-len(wanted) // size),
        )
        arguments = (make_engine, cache.folder, plan)
        done = _map(rows, CaptureReplica, arguments, replicas, size).take_all()
        if sorted(row["prompt_id"] for row in done) != sorted(prompt.id for prompt in wanted):
            msg = f"the replicas answered {len(done)} prompts of {len(wanted)}; run it again"
            raise CaptureError(msg)
    return FeatureCache.open(cache.folder)


def score_on_replicas(
    head_path: Path,
    cache: FeatureCache,
    replicas: Replicas,
    labels: Mapping[ResponseKey, float | None] | None = None,
) -> Iterator[Trajectory]:
    """Score a cache shard by shard on several machines.

    Args:
        head_path: File of the head, which all machines see.
        cache: Whose responses, in a folder that all machines see.
        replicas: What to run.
        labels: See :func:`value_steer.features.scoring.score`.

    Yields:
        The trajectories, in no particular order.
    """
    rows = ray.data.from_items(
        [{"name": shard.name} for shard in cache.shards],
        override_num_blocks=max(1, len(cache.shards)),
    )
    scored = _map(rows, ScoreReplica, (head_path, cache.folder, labels), replicas, 1)
    for row in scored.iter_rows():
        yield Trajectory(**row)


_FIELDS = tuple(field.name for field in fields(Trajectory))


def _map(
    rows: ray.data.Dataset,
    step: type[CaptureReplica | ScoreReplica],
    arguments: tuple[object, ...],
    replicas: Replicas,
    size: int,
) -> ray.data.Dataset:
    return rows.map_batches(
        step,
        fn_constructor_args=arguments,
        batch_size=size,
        concurrency=replicas.count,
        num_cpus=replicas.cpus,
        num_gpus=replicas.gpus,
    )


def _column(values: list[Any]) -> NDArray[Any]:
    """One value per row, whatever it is."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
