"""The state file of a run, from which a killed one goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from value_steer.records.fields import is_number, shown, shown_key
from value_steer.records.files import replacing
from value_steer.training.errors import TrainingError
from value_steer.training.metrics import HeadMetrics
from value_steer.training.report import EpochReport

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator, Tensor

    from value_steer.training.batches import Loader
    from value_steer.training.run import Run

FORMAT = 1
"""Version of the file's format."""

_LONGEST = 300
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's state of each parameter."""


@dataclass(frozen=True, slots=True, eq=False)
class Randomness:
    """The states of torch's generators, and of those that a ``DataLoader`` was given.

    Attributes:
        cpu: Of torch's own.
        cuda: Of each GPU.
        loader: Of the loader's, in order.
    """

    cpu: Tensor
    cuda: list[Tensor]
    loader: list[Tensor]

    @classmethod
    def now(cls, loader: Loader) -> Randomness:
        """As it is."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        own = [generator.get_state() for generator in _generators(loader)]
        return cls(torch.get_rng_state(), cuda, own)

    def restore(self, loader: Loader) -> None:
        """As it was."""
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        for generator, state in zip(_generators(loader), self.loader, strict=True):
            generator.set_state(state)


@dataclass(frozen=True, slots=True)
class StateFile:
    """Where a run is kept, so that it can be taken up again.

    Attributes:
        path: The file; it is replaced atomically.
        loader: The training data, whose order is restored.
        data: What identifies the data, if anything does.
    """

    path: Path
    loader: Loader
    data: str | None = None

    def save(self, run: Run, epoch_began: Randomness) -> None:
        """Write the run as it is now."""
        body = {
            "format": FORMAT,
            "identity": self._identity(run),
            "head": run.head.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "epochs": [asdict(epoch) for epoch in run.epochs],
            "batch": run.batch,
            "loss_sum": run.loss_sum,
            "best_epoch": run.best_epoch,
            "best_weights": run.best_weights,
            "epoch_began": asdict(epoch_began),
            "now": asdict(Randomness.now(self.loader)),
        }
        with replacing(self.path) as handle:
            torch.save(body, handle)

    def resume(self, run: Run) -> tuple[Randomness, Randomness] | None:
        """Bring a run to where the file has it.

        Returns:
            The randomness when the epoch that goes on began, and that of the moment; ``None`` if
            there is no file yet.

        Raises:
            TrainingError: The file is damaged, or of a run with other settings or data.
        """
        if not self.path.exists():
            return None
        body = self._read()
        try:
            self._require_same(body["identity"], self._identity(run))
            run.head.load_state_dict(body["head"])
            run.optimizer.load_state_dict(body["optimizer"])
            run.epochs = [_epoch(epoch) for epoch in body["epochs"]]
            run.batch, run.loss_sum = body["batch"], body["loss_sum"]
            run.best_epoch, run.best_weights = body["best_epoch"], body["best_weights"]
            began, now = Randomness(**body["epoch_began"]), Randomness(**body["now"])
            _require_whole(run)
            for randomness in (began, now):
                randomness.restore(self.loader)
        # What torch and Python make of a part that is missing, or is another than it was.
        except (ArithmeticError, AttributeError, LookupError, RuntimeError) as error:
            raise TrainingError(self._damaged(error)) from error
        except (TypeError, ValueError) as error:
            raise TrainingError(self._damaged(error)) from error
        return began, now

    def _read(self) -> dict[str, Any]:
        try:
            body = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # Reading a damaged pickle can raise nearly anything.
            raise TrainingError(self._damaged(error)) from error
        found = body.get("format") if isinstance(body, dict) else None
        if not isinstance(found, int) or found != FORMAT:
            msg = f"{self.path} is no state file of format {FORMAT}; give the path of another file"
            raise TrainingError(msg)
        if not isinstance(body.get("identity"), dict):
            raise TrainingError(self._damaged("it does not say which run it is of"))
        whole: dict[str, Any] = body
        return whole

    def _damaged(self, why: object) -> str:
        shown = str(why)[:_LONGEST].encode(errors="backslashreplace").decode()
        return f"{self.path} cannot be read ({shown}); delete it to train from the beginning"

    def _identity(self, run: Run) -> dict[str, object]:
        """The properties that a run must share with that of the file."""
        shapes = {key: list(tensor.shape) for key, tensor in run.head.state_dict().items()}
        return {**asdict(run.options), "head": shapes, "batches": run.batches, "data": self.data}

    def _require_same(self, saved: dict[str, object], own: dict[str, object]) -> None:
        differing = [
            f"{shown_key(key)} is {shown(saved.get(key))} there and {shown(own.get(key))} here"
            for key in {**saved, **own}
            if saved.get(key) != own.get(key)
        ]
        if differing:
            msg = (
                f"{self.path} is the state of another run: {'; '.join(differing)}. Delete it to "
                "train from the beginning, or give the settings and the data it was started with"
            )
            raise TrainingError(msg)


def _generators(loader: Loader) -> list[Generator]:
    """The generators that decide a loader's order."""
    owners = (loader, getattr(loader, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    return [generator for generator in found if isinstance(generator, torch.Generator)]


def _require_whole(run: Run) -> None:
    """Refuse a place in training at which no run can be.

    Raises:
        ValueError: Says what cannot be.
    """
    done, options = len(run.epochs), run.options
    shapes = {key: tensor.shape for key, tensor in run.head.state_dict().items()}
    kept = run.best_weights
    found = {key: getattr(tensor, "shape", None) for key, tensor in kept.items()}
    parameters = {p: p.shape for group in run.optimizer.param_groups for p in group["params"]}
    moments = [
        run.optimizer.state[parameter][name].shape == shape
        for parameter, shape in parameters.items()
        for name in _MOMENTS
        if run.steps
    ]
    problems = {
        "epochs": done > options.epochs or not all(map(_is_epoch, run.epochs, range(1, done + 1))),
        "batch": type(run.batch) is not int or not 0 <= run.batch <= run.batches,
        "loss_sum": not is_number(run.loss_sum),
        "best_epoch": type(run.best_epoch) is not int or not 0 <= run.best_epoch <= done,
        "best_weights": bool(done) != bool(kept) or found not in (shapes, {}),
        "optimizer": not all(moments),
    }
    wrong = [name for name, is_wrong in problems.items() if is_wrong]
    if wrong:
        msg = f"{', '.join(wrong)}: not as any run leaves them"
        raise ValueError(msg)


def _is_epoch(epoch: EpochReport, number: int) -> bool:
    losses = [epoch.train_loss, *([] if epoch.validation is None else [epoch.validation.loss])]
    return epoch.epoch == number and all(map(is_number, [*losses, epoch.learning_rate]))


def _epoch(body: dict[str, Any]) -> EpochReport:
    validation = body.pop("validation")
    metrics = None if validation is None else HeadMetrics(**validation)
    return EpochReport(**body, validation=metrics)
