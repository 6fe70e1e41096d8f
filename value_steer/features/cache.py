"""A folder of shards and the index that says which of them count.

A shard exists once it is in ``index.json``, which is replaced atomically and under a lock. Whatever
a kill leaves behind (a temporary file, a shard that was not entered) is ignored.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

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
from value_steer.records.codec import decode, parse_json
from value_steer.records.differences import differences
from value_steer.records.fields import TEXT, Field, one_of, optional, read, whole_from
from value_steer.records.files import read_at_most, replacing
from value_steer.value_probe.fingerprint import SettingsFingerprint, read_fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    import torch

    from value_steer.features.records import Response, ResponseFeatures, ResponseKey

LARGEST_INDEX = 64 << 20
"""Bytes of ``index.json``; a shard takes 300, and has as many responses as one wants."""

_FORMAT = 1
_REMEDY = "give the folder of a feature cache, or a new one to FeatureCache.create"

Capture = Literal["decode", "prefill"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of the responses and their states, beside the model; ``None``: not recorded.

    Attributes:
        model_files: Digest of the model's files, so that another model in the same folder shows.
        seed: Of the responses, or ``"none"``.
        engine_arguments: Further arguments of the engine, as JSON.
    """

    model_files: str | None = None
    seed: str | None = None
    engine_arguments: str | None = None


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """Properties that all shards of a cache share.

    Attributes:
        hidden_size: Width H of the states.
        dtype: What they are stored in: ``float32``, ``bfloat16`` or ``float16``.
        capture: How they were computed: ``decode`` in the serving engine, ``prefill`` by one
            teacher-forced pass.
        settings: How the responses were generated, as far as serving can be compared with it.
        origin: The rest of it.

    Raises:
        FeatureCacheError: The dtype or the capture is none of those named.
    """

    hidden_size: int
    dtype: str = "float32"
    capture: Capture = "decode"
    settings: SettingsFingerprint = field(default_factory=SettingsFingerprint)
    origin: Origin = field(default_factory=Origin)

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
            FeatureCacheError: There is one, of other features; the differences are named.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            if not _index(path).exists():
                _write(path, spec, ())
        cache = cls.open(path)
        if different := differences(asdict(cache.spec), asdict(spec)):
            msg = (
                f"{path} was made otherwise than is asked for now: {'; '.join(different)}; use "
                "another folder"
            )
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
            width = self.spec.hidden_size
            self._readers[shard.name] = ShardReader(self.folder, shard, width)
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
        body = parse_json(read_at_most(file, LARGEST_INDEX))
    except (OSError, ValueError) as error:
        msg = f"{file} cannot be read ({error}); {_REMEDY}"
        raise FeatureCacheError(msg) from error
    if not isinstance(body, dict) or body.get("format") != _FORMAT:
        msg = f"{file} is not of format {_FORMAT}; {_REMEDY}"
        raise FeatureCacheError(msg)
    problems: list[str] = []
    known = read(body, _BODY, "", problems, ("format", "spec", "shards"))
    spec = _spec(known.get("spec", {}), problems)
    found = [
        decode(Shard, shard, f"shards.{place}", problems)
        for place, shard in enumerate(known.get("shards", ()))
    ]
    if problems or spec is None:
        msg = f"{file}: {'; '.join(problems)}; {_REMEDY}"
        raise FeatureCacheError(msg)
    return spec, tuple(shard for shard in found if shard is not None)


def _spec(body: object, problems: list[str]) -> CacheSpec | None:
    known = read(body, _SPEC, "spec", problems, ("hidden_size", "dtype", "capture", "settings"))
    settings = read_fingerprint(known.get("settings", {}), "spec.settings", problems)
    origin = Origin(**read(known.get("origin", {}), _ORIGIN, "spec.origin", problems))
    # A cache of an earlier version has no origin: nothing of it is recorded.
    return None if problems else CacheSpec(**known | {"settings": settings, "origin": origin})


_BODY = {
    "format": whole_from(_FORMAT),
    "spec": Field(lambda v: isinstance(v, dict), "an object"),
    "shards": Field(lambda v: isinstance(v, list), "a list"),
}
_SPEC = {
    "hidden_size": whole_from(1),
    "dtype": one_of(*DTYPES),
    "capture": one_of(*get_args(Capture)),
    "settings": Field(lambda v: isinstance(v, dict), "an object"),
    "origin": Field(lambda v: isinstance(v, dict), "an object"),
}
_ORIGIN = dict.fromkeys(("model_files", "seed", "engine_arguments"), optional(TEXT))


def _write(folder: Path, spec: CacheSpec, shards: tuple[Shard, ...]) -> None:
    body = {
        "format": _FORMAT,
        "spec": asdict(spec),
        "shards": [asdict(shard) for shard in shards],
    }
    with replacing(_index(folder)) as handle:
        handle.write(json.dumps(body, indent=1).encode() + b"\n")
