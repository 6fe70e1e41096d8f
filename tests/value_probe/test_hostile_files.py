"""Head files that claim more than they hold, or hold what nobody expects: bounded, one error."""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import re
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.head_files import HIDDEN, Intruder, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import HeadCard, ValueHead, limits, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar
from value_steer.value_probe.stored import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEAK = 2**24
"""Bytes that reading a file of a few kilobytes may take on the way to a refusal."""


def refusal(path: Path) -> str:
    """The error, which cost no memory to speak of: neither Python's nor torch's."""
    with torch.profiler.profile(profile_memory=True) as profile:
        tracemalloc.start()
        try:
            with pytest.raises(CheckpointError) as caught:
                load_value_head(path)
            assert tracemalloc.get_traced_memory()[1] < PEAK
        finally:
            tracemalloc.stop()
    assert sum(max(0, event.self_cpu_memory_usage) for event in profile.key_averages()) < PEAK
    return str(caught.value)


def claiming(hidden: int) -> dict[str, torch.Tensor]:
    """A head in which one number stands for all of a tensor's."""
    one = torch.zeros(1)
    shapes = ValueHead(1).architecture.shapes(hidden)
    return {key: one.expand(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize("suffix", [".pt", ".bin"])
@pytest.mark.parametrize("hidden", [16_000, 200_000])
def test_tensors_that_repeat_one_number_are_refused(
    tmp_path: Path, suffix: str, hidden: int
) -> None:
    """Two kilobytes would become gigabytes."""
    path = tmp_path / f"v{suffix}"
    torch.save(claiming(hidden), path, _use_new_zipfile_serialization=suffix == ".pt")
    assert path.stat().st_size < 4000

    assert "claims more numbers than its storage holds" in refusal(path)


def rezipped(path: Path, change: Callable[[str, bytes], bytes], **how: Any) -> None:
    """The same records, changed, in a new archive."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    """It could inflate a thousandfold, and torch.save never compresses."""
    path = write(tmp_path / "v.pt", {"0.weight": torch.zeros(1000, 1000)})
    rezipped(path, lambda _, data: data, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000

    assert "which torch.save never does" in refusal(path)


def test_a_storage_that_claims_more_than_its_record_is_refused(tmp_path: Path) -> None:
    """Otherwise memory beside it would be read as weights."""
    path = write(tmp_path / "v.pt", weights_of(ValueHead(HIDDEN)))
    rezipped(path, lambda name, data: data[:4] if "/data/" in name else data)

    assert "claims other than it holds" in refusal(path)


def test_a_legacy_file_whose_storage_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    """Torch takes that memory before it looks for the numbers."""
    path = tmp_path / "v.bin"
    torch.save({"0.weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    body = path.read_bytes()
    claims = re.split(rb"(?<=cpuq.)K\x02N", body, flags=re.DOTALL)
    assert len(claims) == 2
    path.write_bytes(b"J\xff\xff\xff\x7fN".join(claims))

    assert "is cut off" in refusal(path)


def square(dtype: str) -> torch.Tensor:
    """A matrix of a type with few bits."""
    return torch.zeros(4, 4, dtype=torch.uint8).view(getattr(torch, dtype))


ODD: dict[str, Callable[[], torch.Tensor]] = {
    "nested": lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    "fp4": lambda: square("float4_e2m1fn_x2"),
    "fp8": lambda: square("float8_e4m3fn"),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(4, 4), 1.0, 0, torch.qint8),
    "complex": lambda: torch.zeros(4, 4, dtype=torch.complex64),
}


@pytest.mark.filterwarnings("ignore")  # torch's own, of what is being replaced
@pytest.mark.parametrize("kind", ODD)
def test_tensors_of_other_kinds_are_refused(tmp_path: Path, kind: str) -> None:
    """By name, whatever torch does with them."""
    path = tmp_path / "v.pt"
    write(path, {**weights_of(ValueHead(HIDDEN)), "0.weight": ODD[kind]()})

    assert "0.weight is not made of finite fp32 numbers" in refusal(path)


def test_fp8_in_safetensors_is_refused(tmp_path: Path) -> None:
    """By name as well."""
    path = tmp_path / "v.safetensors"
    write(path, {**weights_of(ValueHead(HIDDEN)), "0.weight": square("float8_e4m3fn")})

    assert "0.weight is not made of finite fp32 numbers" in refusal(path)


def test_fp4_in_safetensors_is_refused(tmp_path: Path) -> None:
    """A type that the library knows and torch may not."""
    header = json.dumps({"0.weight": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}})
    path = tmp_path / "v.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode() + b"\0\0")

    assert "0.weight is not made of finite" in refusal(path)


@pytest.mark.parametrize("name", ["archive/data.pkl", "memo"])
def test_a_pickle_beyond_the_bound_is_refused(tmp_path: Path, name: str) -> None:
    """At the bound it is read."""
    path = tmp_path / "v.pt"
    short, long = "x" * 100, "x" * limits.MAX_PICKLE_BYTES
    for note, words in ((short, "no bare state dict"), (long, "data.pkl of at most")):
        torch.save({name: note}, path)
        assert words in refusal(path)


def test_records_beyond_the_bound_are_refused(tmp_path: Path) -> None:
    """Each of them takes more memory than its bytes in the file."""
    path = tmp_path / "v.pt"
    for count, words in ((limits.MAX_RECORDS, "no data.pkl"), (limits.MAX_RECORDS + 1, "records")):
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(count):
                archive.writestr(str(number), b"")
        assert words in refusal(path)


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    """Its size is looked at first; it takes no room on the disk either."""
    path = tmp_path / "v.pt"
    with path.open("wb") as handle:
        handle.truncate(limits.MAX_HEAD_BYTES + 1)

    assert f"larger than the {limits.MAX_HEAD_BYTES} bytes" in refusal(path)
    path.write_bytes(b"12345")
    assert read_bytes(path, most=5) == b"12345"
    with pytest.raises(CheckpointError, match="larger than the 4 bytes"):
        read_bytes(path, most=4)


def test_the_widest_head_fits_the_bound_of_the_file() -> None:
    """In fp32, with a mebibyte for all else."""
    shapes = ValueHead(1).architecture.shapes(limits.MAX_HIDDEN_SIZE).values()
    numbers = sum(torch.Size(shape).numel() for shape in shapes)

    assert 4 * numbers + 2**20 == limits.MAX_HEAD_BYTES


@pytest.mark.parametrize(("size", "words"), [(0, "shape"), (1, "is the largest that is read")])
def test_a_wider_head_is_refused(tmp_path: Path, size: int, words: str) -> None:
    """Before anything of that width is built."""
    width = limits.MAX_HIDDEN_SIZE + size
    weights = {**weights_of(ValueHead(1)), "0.bias": torch.zeros(width)}

    assert words in refusal(write(tmp_path / "v.pt", weights))


def test_a_card_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """At the bound it is read."""
    path = write(tmp_path / "v.pt", weights_of(ValueHead(HIDDEN)))
    body = json.dumps({"hidden_size": HIDDEN}).encode()
    sidecar(path).write_bytes(body.ljust(limits.MAX_CARD_BYTES))
    load_value_head(path)
    sidecar(path).write_bytes(body.ljust(limits.MAX_CARD_BYTES + 1))

    assert f"larger than the {limits.MAX_CARD_BYTES} bytes" in refusal(path)


def test_a_header_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    """It holds names and the card, no more."""
    path = tmp_path / "v.safetensors"
    save_value_head(path, ValueHead(HIDDEN), HeadCard(HIDDEN))
    body = path.read_bytes()
    length = int.from_bytes(body[:8], "little")
    for size in (limits.MAX_HEADER_BYTES, limits.MAX_HEADER_BYTES + 1):
        header = body[8 : 8 + length].ljust(size)
        path.write_bytes(size.to_bytes(8, "little") + header + body[8 + length :])
        sidecar(path).unlink(missing_ok=True)
        if size == limits.MAX_HEADER_BYTES:
            load_value_head(path)
    assert "a header of" in refusal(path)


HUGE = "1" + "0" * 310
"""A whole number that no float holds."""


@pytest.mark.parametrize(
    "text",
    [
        f'{{"hidden_size": {HUGE}}}',
        f'{{"hidden_size": 4, "threshold": {HUGE}}}',
        f'{{"hidden_size": 4, "maker": "x", "threshold": {HUGE}}}',
        f'{{"maker": "x", "alphas": [{HUGE}], "thresholds": [{HUGE}], "n": {HUGE}, "layer": 1}}',
        '{"hidden_size": 4, "curves": [{"quantity": "alpha", "points": [[0.1, 0.5]], "n": 4, '
        f'"settings": {{"temperature": {HUGE}}}}}]}}',
        '{"hidden_size": 4, "curves": [{"quantity": "alpha", "n": 4, '
        f'"points": [[{HUGE}, 0]]}}]}}',
        '{"hidden_size": 4, "meta": {"a": ' + "9" * 10_000 + "}}",
    ],
)
def test_a_number_that_no_float_holds_is_refused(tmp_path: Path, text: str) -> None:
    """Wherever it stands in a sidecar."""
    path = write(tmp_path / "v.pt", weights_of(ValueHead(HIDDEN)))
    sidecar(path).write_text(text, encoding="utf-8")

    refusal(path)


OPCODES = st.sampled_from([op.code.encode("latin-1") for op in pickletools.opcodes])
USUAL = (
    *(b"\x80\x02", b"(", b"K\x01", b"J\xff\xff\xff\x7f", b"X\x01\0\0\0a", b"}", b".", b"Q", b"R"),
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n"),
)
PIECES = st.one_of(OPCODES, st.binary(max_size=8), st.sampled_from(USUAL))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(PIECES, max_size=30), container=st.sampled_from(["zip", "older"]))
def test_any_pickle_is_read_or_refused(tmp_path: Path, pieces: list[bytes], container: str) -> None:
    """In either container, no other error gets out."""
    path, body = tmp_path / "v.pt", b"".join(pieces)
    if container == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a/data.pkl", body)
            archive.writestr("a/data/a", b"\0\0\0\0")
        body = buffer.getvalue()
    else:
        numbers = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
        body = b"".join(pickle.dumps(n, protocol=2) for n in numbers) + body
    path.write_bytes(body)

    with suppress(CheckpointError):
        load_value_head(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_safetensors_file_is_never_another_exception(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Cut off or overwritten anywhere, it is refused or still holds a whole head."""
    path = tmp_path / "v.safetensors"
    save_value_head(path, ValueHead(HIDDEN), HeadCard(HIDDEN))
    sidecar(path).unlink()
    body = bytearray(path.read_bytes())
    body = body[: data.draw(st.integers(0, len(body)))]
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(body)

    with suppress(CheckpointError):
        assert load_value_head(path).hidden_size == HIDDEN


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_never_executed(tmp_path: Path, protocol: int) -> None:
    """In none of the protocols, and not where torch's reader would be asked."""
    for content in (Intruder(), {"0.weight": Intruder()}, [Intruder()]):
        (tmp_path / "v.bin").write_bytes(pickle.dumps(content, protocol=protocol))
        refusal(tmp_path / "v.bin")
        torch.save(content, tmp_path / "v.pt", pickle_protocol=max(2, protocol))
        refusal(tmp_path / "v.pt")


def _doubled(levels: int) -> bytes:
    """A value that holds itself twice over at each level, as the name of a function."""
    steps = b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86\x94" for i in range(levels))
    return b"\x80\x04)\x94" + steps + b"\x8c\x01a\x93."


_ENDLESS = json.dumps(
    {"a": {"dtype": "F32", "shape": [0, 1 << 60, 16], "data_offsets": [0, 0]}}
).encode()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("doubled.pt", _doubled(60)),
        ("nested.pt", b"\x80\x04)" + b"\x85" * 100_000 + b"\x8c\x01a\x93."),
        ("shape.safetensors", struct.pack("<Q", len(_ENDLESS)) + _ENDLESS),
    ],
)
def test_what_prints_or_strides_without_end_is_refused(
    name: str, body: bytes, tmp_path: Path
) -> None:
    """Names of functions are text, and shapes are ones that memory has addresses for."""
    (tmp_path / name).write_bytes(body)

    with pytest.raises(CheckpointError):
        load_value_head(tmp_path / name)


def test_a_pipe_is_no_head(tmp_path: Path) -> None:
    """It would be waited for without end."""
    path = tmp_path / "head.safetensors"
    os.mkfifo(path)

    with pytest.raises(CheckpointError, match="it is no file"):
        load_value_head(path)
