"""A killed run goes on as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils.data import DataLoader

from tests.training.material import HIDDEN, Batch, separable
from value_steer.train_probe import train_probe
from value_steer.training import TrainingError, TrainingOptions, TrainingReport
from value_steer.value_probe import ValueHead
from value_steer.value_probe.head import Architecture

if TYPE_CHECKING:
    from collections.abc import Iterator

OPTIONS = TrainingOptions(epochs=3, learning_rate=3e-3)
BATCHES = 4
FETCHES = 3 * BATCHES


class KilledError(Exception):
    """What ends a run here."""


class Shuffled:
    """A shuffling loader that is killed when it is about to yield a given batch."""

    def __init__(
        self, kill_at: int | None = None, generator: torch.Generator | None = None
    ) -> None:
        rows = separable(16 * BATCHES, batch=1)
        data = [{key: value[0] for key, value in row.items()} for row in rows]
        self._loader: DataLoader[Batch] = DataLoader(
            data,  # type: ignore[arg-type]
            batch_size=16,
            shuffle=True,
            generator=generator,
        )
        self.generator = generator
        self.name = ""
        self._kill_at = kill_at
        self._fetched = 0

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._loader:
            if self._fetched == self._kill_at:
                raise KilledError
            self._fetched += 1
            yield batch


def train(
    loader: Any,
    state_file: Path | None,
    state_every: int = 100,
    validation: list[Batch] | None = None,
) -> tuple[ValueHead, TrainingReport]:
    """A run from the same beginning, with dropout and shuffling that draw random numbers."""
    torch.manual_seed(7)
    head = ValueHead(HIDDEN, Architecture.TWO_LAYER)
    report = train_probe(
        None,
        head,
        loader,
        separable(32, 5) if validation is None else validation,
        options=OPTIONS,
        state_file=state_file,
        state_every=state_every,
    )
    return head, report


def same(one: tuple[ValueHead, TrainingReport], other: tuple[ValueHead, TrainingReport]) -> bool:
    """Every weight, loss and metric to the last bit."""
    weights = zip(one[0].parameters(), other[0].parameters(), strict=True)
    return one[1] == other[1] and all(torch.equal(a, b) for a, b in weights)


@pytest.mark.parametrize(("state_every", "owns_generator"), [(1, False), (3, True)])
def test_a_run_killed_anywhere_ends_the_same(
    tmp_path: Path, state_every: int, *, owns_generator: bool
) -> None:
    """Killed at each of its batches and taken up again: bit for bit the uninterrupted run."""

    def loader(kill_at: int | None = None) -> Shuffled:
        own = torch.Generator().manual_seed(3) if owns_generator else None
        return Shuffled(kill_at, own)

    whole = train(loader(), None)
    for kill_at in range(FETCHES):
        state_file = tmp_path / f"{kill_at}.state"
        with pytest.raises(KilledError):
            train(loader(kill_at), state_file, state_every)

        resumed = train(loader(), state_file, state_every)

        assert same(resumed, whole), kill_at


def test_the_best_weights_of_the_past_survive(tmp_path: Path) -> None:
    """The validation loss only grows, so those of the first epoch are what a run ends with."""
    torch.manual_seed(7)
    start = ValueHead(HIDDEN).state_dict()
    options = replace(OPTIONS, loss_name="bce", learning_rate=3e-2)
    opposite = [{**batch, "labels": 1 - batch["labels"]} for batch in separable(32, 5)]

    def attempt(loader: Any) -> tuple[ValueHead, TrainingReport]:
        torch.manual_seed(7)
        head = ValueHead(HIDDEN)
        head.load_state_dict(start)
        report = train_probe(
            None, head, loader, opposite, options=options, state_file=tmp_path / loader.name
        )
        return head, report

    whole, killed, resumed = Shuffled(), Shuffled(2 * BATCHES), Shuffled()
    whole.name, killed.name, resumed.name = "whole", "kept", "kept"
    with pytest.raises(KilledError):
        attempt(killed)

    assert same(attempt(resumed), expected := attempt(whole))
    assert (expected[1].best_epoch, len(expected[1].epochs)) == (1, 3)


def test_a_run_killed_while_it_validates_ends_the_same(tmp_path: Path) -> None:
    """Between the last batch of an epoch and its report; the loader is at its end then."""
    validation = separable(32, 5)

    class Mortal(list[Batch]):
        def __iter__(self) -> Iterator[Batch]:
            raise KilledError

    def attempt(data: list[Batch]) -> tuple[ValueHead, TrainingReport]:
        return train(Shuffled(), tmp_path / "state", state_every=1, validation=data)

    with pytest.raises(KilledError):
        attempt(Mortal(validation))

    assert same(attempt(validation), train(Shuffled(), None))


def test_a_run_may_be_killed_often(tmp_path: Path) -> None:
    """Each time it gets five batches further."""
    whole = train(Shuffled(), None)
    for _ in range(2):
        with pytest.raises(KilledError):
            train(Shuffled(5), tmp_path / "state", state_every=1)

    assert same(train(Shuffled(), tmp_path / "state", state_every=1), whole)


def test_keeping_a_state_changes_nothing(tmp_path: Path) -> None:
    """A run that is kept is the run that is not."""
    assert same(train(Shuffled(), tmp_path / "state", state_every=1), train(Shuffled(), None))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    """Its head and report come from the file; no batch is asked for."""
    whole = train(Shuffled(), tmp_path / "state")

    assert same(train(Shuffled(kill_at=0), tmp_path / "state"), whole)


def test_a_run_that_failed_keeps_its_last_good_state(tmp_path: Path) -> None:
    """A loss that is not a number is not in it: with the data mended, the run goes on."""
    batches = separable(16 * BATCHES)
    broken = [
        *batches[:2],
        {**batches[2], "hidden_states": batches[2]["hidden_states"] * torch.nan},
    ]
    broken.append(batches[3])
    whole = train(batches, None)

    with pytest.raises(TrainingError, match="step 3"):
        train(broken, tmp_path / "state", state_every=1)

    assert same(train(batches, tmp_path / "state"), whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"options": replace(OPTIONS, gamma=2.0)}, "gamma is 1.0 there and 2.0 here"),
        ({"train_loader": separable(16)}, "batches is 4 there and 1 here"),
        ({"head": ValueHead(HIDDEN)}, "head is"),
    ],
    ids=["options", "data", "head"],
)
def test_the_state_of_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    """With what differs."""
    train(Shuffled(), tmp_path / "state")
    arguments = {
        "head": ValueHead(HIDDEN, Architecture.TWO_LAYER),
        "train_loader": Shuffled(),
        "options": OPTIONS,
        **change,
    }

    with pytest.raises(TrainingError, match="state of another run") as caught:
        train_probe(None, state_file=tmp_path / "state", **arguments)

    assert said in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another format"])
def test_a_damaged_state_is_refused(tmp_path: Path, damage: str) -> None:
    """It is not overwritten, and nothing in it is executed."""
    state_file = tmp_path / "state"
    train(Shuffled(), state_file)
    body = state_file.read_bytes()
    if damage == "another format":
        torch.save({"format": 99}, state_file)
    else:
        state_file.write_bytes({"truncated": body[:-100], "empty": b"", "text": b"hello"}[damage])

    with pytest.raises(TrainingError, match=str(state_file)):
        train(Shuffled(), state_file)


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("identity", None),
        ("head", {}),
        ("optimizer", {}),
        ("epochs", [{"epoch": 1}]),
        ("batch", -1),
        ("batch", "3"),
        ("loss_sum", float("nan")),
        ("best_epoch", 7),
        ("best_weights", {"0.weight": torch.zeros(1)}),
        ("epoch_began", {}),
        ("now", {"cpu": torch.zeros(3, dtype=torch.uint8), "cuda": [], "loader": []}),
    ],
)
def test_a_state_with_a_part_that_no_run_leaves_is_refused(
    tmp_path: Path, part: str, instead: object
) -> None:
    """In one message that names the file; what comes of it silently would be another head."""
    state_file = tmp_path / "state"
    train(Shuffled(), state_file)
    body = torch.load(state_file, weights_only=True)
    for changed in ({**body, part: instead}, {k: v for k, v in body.items() if k != part}):
        torch.save(changed, state_file)
        with pytest.raises(TrainingError, match=f"{state_file} cannot be read"):
            train(Shuffled(), state_file)


_SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.training.test_training_resume import KilledError, Shuffled, train

class Suicidal(Shuffled):
    def __iter__(self):
        try:
            yield from super().__iter__()
        except KilledError:
            os.kill(os.getpid(), signal.SIGKILL)

train(Suicidal(kill_at=6), Path(sys.argv[1]), state_every=1)
"""


def test_a_process_that_is_killed_leaves_a_state(tmp_path: Path) -> None:
    """SIGKILL in the middle of the second epoch; another process ends the run."""
    state_file = tmp_path / "state"

    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(state_file)],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
    )

    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert same(train(Shuffled(), state_file), train(Shuffled(), None))
