"""One shard: the features of some responses in a safetensors file, their words in JSON beside it.

``hidden`` holds the states of all responses one after another, ``[tokens, H]``. Response ``i`` has
the rows ``offsets[i]`` to ``offsets[i + 1]`` of it and of ``token_ids``, and row ``i`` of
``prior``.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from value_steer.features.errors import FeatureCacheError
from value_steer.features.records import Response, ResponseFeatures, ResponseKey
from value_steer.records.codec import parse_json
from value_steer.records.fields import PROBABILITY, TEXT, Field, listed, optional, read
from value_steer.records.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions in which states can be stored."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard, as the index describes it.

    Attributes:
        name: Of its files, without a suffix.
        sha256: Checksum of the safetensors file.
        words_sha256: Checksum of the JSON file.
        responses: How many it holds.
        tokens: How many they have together.
    """

    name: str
    sha256: str
    words_sha256: str
    responses: int
    tokens: int

    def tensors_in(self, folder: Path) -> Path:
        """The file of the hidden states."""
        return folder / f"{self.name}.safetensors"

    def words_in(self, folder: Path) -> Path:
        """The file of the prompts and responses."""
        return folder / f"{self.name}.json"


@dataclass(frozen=True, slots=True)
class StoredTensors:
    """A safetensors file that was written and is not in any index yet.

    Attributes:
        name: Of the file, without a suffix.
        sha256: Its checksum.
        lengths: Tokens of each response.
    """

    name: str
    sha256: str
    lengths: tuple[int, ...]


def store_tensors(
    folder: Path,
    tokens: Sequence[Tensor],
    hidden: Sequence[Tensor],
    priors: Sequence[Tensor],
    dtype: torch.dtype,
) -> StoredTensors:
    """Write the tensors of one or more responses into a new file.

    Args:
        folder: Of the cache.
        tokens: ``[T]`` of each response.
        hidden: ``[T, H]`` of each.
        priors: ``[H]`` of each.
        dtype: To store the states in.

    Raises:
        FeatureCacheError: A token id is none that can be stored.
    """
    if not all(
        row.numel() == 0 or 0 <= int(row.min()) <= int(row.max()) < 1 << 31 for row in tokens
    ):
        msg = "a token id is negative or beyond 2^31; is the tensor one of token ids?"
        raise FeatureCacheError(msg)
    lengths = tuple(len(row) for row in tokens)
    tensors = {
        "hidden": torch.cat(list(hidden)).to(dtype).contiguous(),
        "prior": torch.stack(list(priors)).to(dtype).contiguous(),
        "token_ids": torch.cat(list(tokens)).to(torch.int32).contiguous(),
        "offsets": torch.tensor([0, *lengths], dtype=torch.int64).cumsum(0),
    }
    name = f"shard-{uuid.uuid4().hex}"
    checksum = _store(folder / f"{name}.safetensors", save(tensors))
    return StoredTensors(name, checksum, lengths)


def store_words(folder: Path, stored: StoredTensors, responses: Sequence[Response]) -> Shard:
    """Write what the responses of a stored file are; the shard is then complete.

    Raises:
        FeatureCacheError: The file holds another number of responses.
    """
    if len(responses) != len(stored.lengths):
        msg = f"{stored.name} holds {len(stored.lengths)} responses, not {len(responses)}"
        raise FeatureCacheError(msg)
    rows = [asdict(response) | {"key": list(response.key)} for response in responses]
    text = json.dumps(rows, ensure_ascii=False).encode()
    checksum = _store(folder / f"{stored.name}.json", text)
    tokens = sum(stored.lengths)
    return Shard(stored.name, stored.sha256, checksum, len(responses), tokens)


def read_words(folder: Path, shard: Shard) -> list[Response]:
    """The responses of a shard, in its order.

    Raises:
        FeatureCacheError: The file is not the one that was written, or holds other than responses.
    """
    file = shard.words_in(folder)
    require_intact(file, shard.words_sha256)
    problems: list[str] = []
    try:
        rows = parse_json(file.read_bytes())
    except ValueError as error:
        rows = []
        problems.append(f"it is no JSON ({error})")
    if not isinstance(rows, list) or len(rows) != shard.responses:
        problems.append(f"it is no list of {shard.responses} responses")
        rows = []
    found = [read(row, _RESPONSE, str(place), problems, ("key",)) for place, row in enumerate(rows)]
    if problems:
        raise FeatureCacheError(_unlike(file, problems))
    return [Response(**values) for values in found]


def require_intact(file: Path, checksum: str) -> None:
    """Check that a file of a shard is the one that the index means.

    Raises:
        FeatureCacheError: It is missing, or its checksum is another.
    """
    try:
        with file.open("rb") as handle:
            found = _sha256(handle)
    except OSError as error:
        found = str(error)
    if found != checksum:
        msg = (
            f"{file} is not the file that was written (SHA-256 {checksum} expected, found: "
            f"{found}); restore it, or remove the shard with FeatureCache.without({file.stem!r}) "
            "and capture its prompts again"
        )
        raise FeatureCacheError(msg)


def _unlike(file: Path, problems: list[str]) -> str:
    return (
        f"{file} is not as the index has it: {listed(problems)}; restore the folder, or strike the "
        f"shard with FeatureCache.without({file.stem!r}) and capture its prompts again"
    )


def _store(file: Path, body: bytes) -> str:
    """Write a file whole; its checksum."""
    with replacing(file) as handle:
        handle.write(body)
    return hashlib.sha256(body).hexdigest()


def _sha256(handle: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := handle.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


class _Tensors(Protocol):
    """A safetensors file, as its own module leaves it untyped."""

    def get_tensor(self, name: str) -> Tensor:
        """All of a tensor."""

    def get_slice(self, name: str) -> _Slice:
        """A tensor of which only what is indexed is read."""


class _Slice(Protocol):
    """A tensor in a file."""

    def get_shape(self) -> list[int]:
        """Of all of it."""

    def __getitem__(self, rows: slice) -> Tensor: ...


class ShardReader:
    """The tensors of one shard, mapped into memory and read where they are asked for.

    Args:
        folder: Of the cache.
        shard: Which.
        width: H of its states.

    Raises:
        FeatureCacheError: The file is not the one that was written, or not as the index has it.
    """

    def __init__(self, folder: Path, shard: Shard, width: int) -> None:
        file = shard.tensors_in(folder)
        require_intact(file, shard.sha256)
        try:
            tensors: _Tensors = safe_open(file, framework="pt", device="cpu")
        except SafetensorError as error:
            msg = f"{file} is no safetensors file ({error})"
            raise FeatureCacheError(msg) from error
        try:
            offsets = tensors.get_tensor("offsets")
            self._hidden = tensors.get_slice("hidden")
            self._prior = tensors.get_tensor("prior")
            self._tokens = tensors.get_tensor("token_ids")
            states = self._hidden.get_shape()
        except SafetensorError as error:
            raise FeatureCacheError(_unlike(file, [str(error)])) from error
        self._offsets: list[int] = offsets.tolist() if offsets.ndim == 1 else []
        is_divided = (
            offsets.dtype is torch.int64
            and len(self._offsets) == shard.responses + 1
            and self._offsets == sorted(self._offsets)
            and self._offsets[:1] + self._offsets[-1:] == [0, shard.tokens]
        )
        shapes = (states, [*self._prior.shape], [*self._tokens.shape])
        expected = ([shard.tokens, width], [shard.responses, width], [shard.tokens])
        if not is_divided or shapes != expected or self._tokens.dtype is not torch.int32:
            problem = (
                f"its tensors are not those of {shard.responses} responses with {shard.tokens} "
                f"tokens and states of {width}"
            )
            raise FeatureCacheError(_unlike(file, [problem]))

    def features(self, place: int, response: Response) -> ResponseFeatures:
        """The response at a place of the shard."""
        rows = slice(self._offsets[place], self._offsets[place + 1])
        return ResponseFeatures(
            response, self._tokens[rows], self._hidden[rows], self._prior[place]
        )


def _is_key(value: object) -> bool:
    match value:
        case [str(), int() as sample] if not isinstance(sample, bool):
            return sample >= 0
    return False


def _is_token_ids(value: object) -> bool:
    return isinstance(value, list) and all(type(token) is int and token >= 0 for token in value)


_RESPONSE = {
    "key": Field(
        _is_key, "the prompt's id and the number of the sample", lambda v: ResponseKey(*v)
    ),
    "prompt": TEXT,
    "text": TEXT,
    "finish": optional(TEXT),
    "reference": optional(TEXT),
    "prompt_tokens": Field(_is_token_ids, "a list of token ids", tuple),
    "label": optional(PROBABILITY),
}
