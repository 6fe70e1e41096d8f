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
from value_steer.records.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""What states can be stored in."""

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shard:
    """What the index says of a shard.

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
        FeatureCacheError: The file is not the one that was written.
    """
    file = shard.words_in(folder)
    require_intact(file, shard.words_sha256)
    rows = json.loads(file.read_text(encoding="utf-8"))
    return [
        Response(
            **row | {"key": ResponseKey(*row["key"]), "prompt_tokens": tuple(row["prompt_tokens"])}
        )
        for row in rows
    ]


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

    def get_slice(self, name: str) -> Tensor:
        """A tensor of which only what is indexed is read."""


class ShardReader:
    """The tensors of one shard, mapped into memory and read where they are asked for.

    Raises:
        FeatureCacheError: The file is not the one that was written.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        file = shard.tensors_in(folder)
        require_intact(file, shard.sha256)
        try:
            tensors: _Tensors = safe_open(file, framework="pt", device="cpu")
        except SafetensorError as error:
            msg = f"{file} is no safetensors file ({error})"
            raise FeatureCacheError(msg) from error
        self._hidden = tensors.get_slice("hidden")
        self._prior = tensors.get_tensor("prior")
        self._tokens = tensors.get_tensor("token_ids")
        self._offsets: list[int] = tensors.get_tensor("offsets").tolist()

    def features(self, place: int, response: Response) -> ResponseFeatures:
        """The response at a place of the shard."""
        rows = slice(self._offsets[place], self._offsets[place + 1])
        return ResponseFeatures(
            response, self._tokens[rows], self._hidden[rows], self._prior[place]
        )
