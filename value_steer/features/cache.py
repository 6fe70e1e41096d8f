"""A folder of shards and the index that says which of them count.

A shard exists once it is in ``index.json``, which is replaced atomically and under a lock. Whatever
a kill leaves behind (a temporary file, a shard that was not entered) is ignored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from filelock import FileLock

from value_steer.features.errors import FeatureCacheError
from value_steer.features.shards import (
    DTYPES,
    Shard,
    ShardReader,
    read_words,
    store_tensors,
    store_words,
)
from value_steer.records.files import replacing
from value_steer.value_probe.fingerprint import SettingsFingerprint, read_fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import torch

    from value_steer.features.records import Response, ResponseFeatures, ResponseKey

_FORMAT = 1
_REMEDY = "give the folder of a feature cache, or a new one to FeatureCache.create"

Capture = Literal["decode", "prefill"]


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """What all shards of a cache have in common.

    Attributes:
        hidden_size: Width H of the states.
        dtype: What they are stored in: ``float32``, ``bfloat16`` or ``float16``.
        capture: How they were computed: ``decode`` in the serving engine, ``prefill`` by one
            teacher-forced pass.
        settings: How the responses were generated.

    Raises:
        FeatureCacheError: The dtype or the capture is none of those named.
    """

    hidden_size: int
    dtype: str = "float32"
    capture: Capture = "decode"
    settings: SettingsFingerprint = field(default_factory=SettingsFingerprint)

    def __post_init__(self) -> None:
        for value, known in ((self.dtype, tuple(DTYPES)), (self.capture, get_args(Capture))):
            if value not in known:
                msg = f"a cache of features: {value!r} is none of {', '.join(known)}"
                raise FeatureCacheError(msg)

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch has it."""
        return DTYPES[self.dtype]


class FeatureCache:
    """Hidden states of sampled responses, in shards that are never changed.

    Attributes:
        folder: Where they are.
        spec: What they have in common.
        shards: Those that count, oldest first.
    """

    def __init__(self, folder: Path, spec: CacheSpec, shards: tuple[Shard, ...]) -> None:
        self.folder = folder
        self.spec = spec
        self.shards = shards
        self._words: dict[str, list[Response]] = {}
        self._readers: dict[str, ShardReader] = {}

    @classmethod
    def create(cls, folder: str | os.PathLike[str], spec: CacheSpec) -> FeatureCache:
        """Open the cache in ``folder`` to fill it, making it if there is none.

        Raises:
            FeatureCacheError: There is one, of other features.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            if not _index(path).exists():
                _write(path, spec, ())
        cache = cls.open(path)
        if cache.spec != spec:
            msg = f"{path} holds {cache.spec}, which differs from {spec}; use another folder"
            raise FeatureCacheError(msg)
        return cache

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> FeatureCache:
        """Open an existing cache.

        Raises:
            FeatureCacheError: There is none, or its index cannot be read.
        """
        path = Path(folder)
        spec, shards = _read(path)
        return cls(path, spec, shards)

    def add(self, features: Sequence[ResponseFeatures]) -> None:
        """Append responses as one shard; those that are there already are left out.

        Raises:
            FeatureCacheError: Their hidden size is not that of the cache.
        """
        known = self.keys()
        new = [one for one in features if one.response.key not in known]
        if not new:
            return
        sizes = {one.prior.numel() for one in new} | {self.spec.hidden_size}
        if len(sizes) > 1:
            msg = f"hidden sizes {sorted(sizes)} in a cache of {self.spec.hidden_size}"
            raise FeatureCacheError(msg)
        tokens, hidden = [one.tokens for one in new], [one.hidden for one in new]
        priors = [one.prior for one in new]
        stored = store_tensors(self.folder, tokens, hidden, priors, self.spec.torch_dtype)
        self.enter([store_words(self.folder, stored, [one.response for one in new])])

    def enter(self, shards: Sequence[Shard]) -> None:
        """Let shards whose files are complete count from now on."""
        with _lock(self.folder):
            spec, present = _read(self.folder)
            names = {shard.name for shard in present}
            self.shards = (*present, *(shard for shard in shards if shard.name not in names))
            _write(self.folder, spec, self.shards)

    def without(self, name: str) -> FeatureCache:
        """Strike a shard from the index, so that its prompts are captured again.

        Raises:
            FeatureCacheError: There is no such shard.
        """
        with _lock(self.folder):
            spec, present = _read(self.folder)
            kept = tuple(shard for shard in present if shard.name != name)
            if kept == present:
                msg = f"{self.folder} has no shard {name!r}; its index lists those it has"
                raise FeatureCacheError(msg)
            _write(self.folder, spec, kept)
        return FeatureCache.open(self.folder)

    def responses(self, shard: Shard) -> list[Response]:
        """The responses of a shard in words, in its order.

        Raises:
            FeatureCacheError: Its file is not the one that was written.
        """
        if shard.name not in self._words:
            self._words[shard.name] = read_words(self.folder, shard)
        return self._words[shard.name]

    def keys(self) -> set[ResponseKey]:
        """The responses that are there."""
        return {one.key for shard in self.shards for one in self.responses(shard)}

    def features(self, shard: Shard, place: int) -> ResponseFeatures:
        """One response of a shard; the shard's checksum is checked when it is first read.

        Raises:
            FeatureCacheError: The shard is not the one that was written.
        """
        if shard.name not in self._readers:
            self._readers[shard.name] = ShardReader(self.folder, shard)
        return self._readers[shard.name].features(place, self.responses(shard)[place])

    def __iter__(self) -> Iterator[ResponseFeatures]:
        for shard in self.shards:
            for place in range(shard.responses):
                yield self.features(shard, place)

    def __len__(self) -> int:
        return sum(shard.responses for shard in self.shards)

    def __getstate__(self) -> tuple[Path, CacheSpec, tuple[Shard, ...]]:
        """Only what names the files: a loader's process maps them itself."""
        return self.folder, self.spec, self.shards

    def __setstate__(self, state: tuple[Path, CacheSpec, tuple[Shard, ...]]) -> None:
        """As a process that has read nothing yet."""
        self.folder, self.spec, self.shards = state
        self._words, self._readers = {}, {}


def _index(folder: Path) -> Path:
    return folder / "index.json"


def _lock(folder: Path) -> FileLock:
    return FileLock(folder / ".index.lock")


def _read(folder: Path) -> tuple[CacheSpec, tuple[Shard, ...]]:
    file = _index(folder)
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read ({error}); {_REMEDY}"
        raise FeatureCacheError(msg) from error
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        msg = f"{file} is not of format {_FORMAT}; {_REMEDY}"
        raise FeatureCacheError(msg)
    try:
        return _spec(body["spec"]), tuple(Shard(**shard) for shard in body["shards"])
    except (KeyError, TypeError) as error:
        msg = f"{file} lacks or has too many fields ({error}); {_REMEDY}"
        raise FeatureCacheError(msg) from error


def _spec(body: dict[str, Any]) -> CacheSpec:
    problems: list[str] = []
    settings = read_fingerprint(body["settings"], "settings", problems)
    if problems:
        raise FeatureCacheError("; ".join(problems))
    return CacheSpec(**body | {"settings": settings})


def _write(folder: Path, spec: CacheSpec, shards: tuple[Shard, ...]) -> None:
    body = {
        "format": _FORMAT,
        "spec": asdict(spec),
        "shards": [asdict(shard) for shard in shards],
    }
    with replacing(_index(folder)) as handle:
        handle.write(json.dumps(body, indent=1).encode() + b"\n")
