"""A head and its sidecar are of one save, whoever is killed and whoever reads meanwhile."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import random
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from tests.head_files import HIDDEN, SUFFIXES, weights_of, write
from value_steer.errors import CheckpointError
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head
from value_steer.value_probe.checkpoint import sidecar

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from multiprocessing.synchronize import Event

every_format = pytest.mark.parametrize("suffix", SUFFIXES)

TRIALS = int(os.environ.get("VALUE_STEER_KILLS", "3"))
"""Kills of a writer for each format; the figures in the docs come from several hundred."""


def numbered(number: int, hidden: int = HIDDEN) -> tuple[ValueHead, HeadCard]:
    """A head whose weights and card say the same number."""
    head = ValueHead(hidden)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(number)
    return head, HeadCard(hidden, meta={"number": number})


def number_in(path: Path) -> int:
    """The number that weights and card agree in."""
    head = load_value_head(path)
    found = {float(x) for tensor in head.state_dict().values() for x in tensor.unique()}
    assert found == {head.card.meta["number"]}
    return int(found.pop())


def save_on(path: Path, hidden: int, begun: Event) -> None:
    """Save heads all of whose weights are the number that their card has, until killed."""
    torch.set_num_threads(1)
    head = ValueHead(hidden)
    begun.set()
    for number in itertools.count(1):
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.fill_(number)
        save_value_head(path, head, HeadCard(hidden, meta={"number": number}))


def writer(path: Path, hidden: int = HIDDEN) -> BaseProcess:
    """A process that saves one head after the other, and has begun to."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    begun = context.Event()
    process = context.Process(target=save_on, args=(path, hidden, begun))
    process.start()
    assert begun.wait(60)
    return process


def killed(process: BaseProcess) -> None:
    """End it as an out-of-memory killer does."""
    process.kill()
    process.join()
    process.close()


@every_format
def test_a_killed_save_leaves_the_old_head_or_the_new(tmp_path: Path, suffix: str) -> None:
    """At whatever moment, weights and card belong together, and the next save clears up."""
    path, rng = tmp_path / f"v{suffix}", random.Random(7)  # noqa: S311
    save_value_head(path, *numbered(0))
    for _ in range(TRIALS):
        process = writer(path, 256)
        time.sleep(rng.uniform(0.0, 0.05))
        killed(process)
        number_in(path)

    save_value_head(path, *numbered(5))

    assert number_in(path) == 5
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.meta.json"]


@every_format
def test_a_reader_never_mixes_two_saves(tmp_path: Path, suffix: str) -> None:
    """Beside two writers, each load is of one save."""
    path = tmp_path / f"v{suffix}"
    save_value_head(path, *numbered(0))
    writers = [writer(path), writer(path)]
    try:
        seen = {number_in(path) for _ in range(10 * TRIALS)}
    finally:
        for process in writers:
            killed(process)

    assert len(seen) > 1


@every_format
def test_each_step_of_a_save_can_be_the_last(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each rename in turn, also beside a sidecar that names no weights."""
    path = tmp_path / f"v{suffix}"
    for step in range(3):
        save_value_head(path, *numbered(0))
        body = json.loads(sidecar(path).read_text(encoding="utf-8"))
        del body["weights_sha256"]
        sidecar(path).write_text(json.dumps(body), encoding="utf-8")
        done: list[Path] = []

        def renamed(self: Path, target: Path, done: list[Path] = done, step: int = step) -> Path:
            if len(done) == step:
                raise KeyboardInterrupt  # what no handler of errors takes
            done.append(target)
            return self.rename(target)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", renamed)
            with pytest.raises(KeyboardInterrupt):
                save_value_head(path, *numbered(1))

        assert number_in(path) == (0 if step < 2 else 1)


def test_a_sidecar_of_other_weights_is_refused(tmp_path: Path) -> None:
    """Its thresholds were calibrated for another head; the error says how to go on."""
    path = tmp_path / "v.pt"
    save_value_head(path, *numbered(1))
    write(path, weights_of(numbered(2)[0]))

    with pytest.raises(CheckpointError, match=r"belongs to other weights than those in v\.pt"):
        load_value_head(path)

    body = json.loads(sidecar(path).read_text(encoding="utf-8"))
    del body["weights_sha256"]
    sidecar(path).write_text(json.dumps(body), encoding="utf-8")
    assert load_value_head(path).card.meta == {"number": 1}


def test_the_card_inside_outranks_a_sidecar_of_other_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It lies in the same bytes as the weights; the sidecar is named."""
    path = tmp_path / "v.safetensors"
    save_value_head(path, *numbered(1))
    old = sidecar(path).read_bytes()
    save_value_head(path, *numbered(2))
    sidecar(path).write_bytes(old)

    assert number_in(path) == 2
    assert "v.safetensors.meta.json belongs to other weights" in caplog.text


@every_format
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    """The former head stays, whole; here the limit on a file's size stands for the disk."""
    path = tmp_path / f"v{suffix}"
    save_value_head(path, *numbered(1))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"cannot be saved .*what was there is kept"):
            save_value_head(path, *numbered(2, hidden=128))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert number_in(path) == 1


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    """Not a traceback of the operating system's."""
    with pytest.raises(CheckpointError, match="cannot be saved"):
        save_value_head(tmp_path / "none" / "v.pt", *numbered(1))


@every_format
def test_the_sidecar_names_the_weights(tmp_path: Path, suffix: str) -> None:
    """By the SHA-256 of their file; a card that names none is read as before."""
    path = tmp_path / f"v{suffix}"
    head, card = numbered(3)
    save_value_head(path, head, replace(card, scores=Polarity.P_GOOD))

    body = json.loads(sidecar(path).read_text(encoding="utf-8"))
    assert body["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
