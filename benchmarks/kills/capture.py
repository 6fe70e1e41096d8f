"""Kills captures on the real engine: ``python -m benchmarks.kills.capture --trials 12``.

Whenever one is killed, what it kept can be read, and the same command makes the rest of it: all
responses are those of a capture that nobody disturbed.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

from benchmarks.soak.record import commit
from compat.behaviour import tiny_models
from compat.behaviour.engines import ONE_THREAD
from value_steer.features import FeatureCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from value_steer.features import ResponseFeatures
    from value_steer.features.records import ResponseKey

PROMPTS = 24
SAMPLES = 2
BATCH = 4
_ENGINE = {"enforce_eager": True, "max_model_len": 256, "max_num_seqs": BATCH}
_LONGEST_WAIT = 0.5
_POLL = 0.01
_PATIENCE = 30.0
_TOLERANCE = 1e-3
"""Of hidden states: a response may have had other neighbours in its batch."""

_VICTIMS = ("command", "all", "EngineCore")
_SIGNALS = (signal.SIGKILL, signal.SIGTERM)

Fault = tuple[str, signal.Signals]
FAULTS: tuple[Fault, ...] = tuple(itertools.product(_VICTIMS, _SIGNALS))


@dataclass
class FaultTally:
    """The results of the trials of one fault.

    Attributes:
        trials: How many.
        stopped: How many captures were stopped by it.
        hung: How many of them had not ended by then, and were ended with SIGKILL.
        kept: Responses that the stopped ones had kept.
        broken: Promises that did not hold.
    """

    trials: int = 0
    stopped: int = 0
    hung: int = 0
    kept: int = 0
    broken: list[str] = field(default_factory=list)


class Captures:
    """The same capture, again and again.

    Args:
        folder: For the model, the prompts and a cache per capture.
        logs: Where each capture's output goes.

    Attributes:
        expected: The responses of one that nobody disturbed.
    """

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder, self._logs = folder, logs
        self._model = tiny_models.build("mistral", folder / "model")
        lines = (json.dumps({"prompt": f"w{n + 4:03} w{2 * n + 9:03}"}) for n in range(PROMPTS))
        (folder / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
        assert self._finish("undisturbed") == 0, f"the capture fails: see {logs}/undisturbed.log"
        self.expected = self._kept("undisturbed")
        assert len(self.expected) == PROMPTS * SAMPLES

    def killed(self, fault: Fault, seed: int, tally: FaultTally) -> None:
        """Kill one at a point that the seed chooses, and let the next one do the rest."""
        victim, number = fault
        draw = random.Random(f"capture/{seed}")  # noqa: S311  (no secret)
        name = str(seed)
        command = self._start(name)
        self._wait_for(name, command, draw.randrange(PROMPTS * SAMPLES))
        time.sleep(draw.uniform(0, _LONGEST_WAIT))
        _send(command, victim, number)
        tally.trials += 1
        try:
            command.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            tally.hung += 1
        _end(command)
        tally.stopped += command.wait() != 0
        kept = self._kept(name)
        tally.kept += len(kept)
        tally.broken += self._wrong(kept, f"seed {seed}, after the kill")
        if (status := self._finish(name)) != 0:
            tally.broken.append(f"seed {seed}: the next run ended with {status}")
        whole = self._kept(name)
        tally.broken += self._wrong(whole, f"seed {seed}, after the next run")
        if missing := self.expected.keys() - whole.keys():
            tally.broken.append(f"seed {seed}: {len(missing)} responses are missing")

    def _wrong(self, kept: dict[ResponseKey, ResponseFeatures], when: str) -> list[str]:
        return [
            f"{when}: response {key} is another one"
            for key, features in kept.items()
            if not _alike(features, self.expected[key])
        ]

    def _kept(self, name: str) -> dict[ResponseKey, ResponseFeatures]:
        """The responses that can be read; a capture that never came to write has no folder."""
        folder = self._folder / name
        if not (folder / "index.json").exists():
            return {}
        return {one.response.key: one for one in FeatureCache.open(folder)}

    def _wait_for(self, name: str, command: subprocess.Popen[bytes], count: int) -> None:
        """Until so many responses are kept: the cache is read while it is written."""
        index = self._folder / name / "index.json"
        while command.poll() is None:
            if index.exists() and len(FeatureCache.open(index.parent)) >= count:
                return
            time.sleep(_POLL)

    def _finish(self, name: str) -> int:
        command = self._start(name)
        status = command.wait()
        _end(command)
        return status

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        with (self._logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "value_steer.cli", "capture", "prompts.jsonl", "--raw"),
                    *("--model", str(self._model), "--dtype", "float32", "--out", name),
                    *("--samples", str(SAMPLES), "--batch", str(BATCH), "--max-tokens", "60"),
                    *("--llm", json.dumps(_ENGINE)),
                ],
                env={**os.environ, **ONE_THREAD, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
                | {"VLLM_CPU_KVCACHE_SPACE": "1", "PYTHONPATH": str(Path.cwd())},
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _alike(one: ResponseFeatures, other: ResponseFeatures) -> bool:
    return (
        one.tokens.tolist() == other.tokens.tolist()
        and one.response == other.response
        and torch.allclose(one.hidden, other.hidden, atol=_TOLERANCE)
        and torch.allclose(one.prior, other.prior, atol=_TOLERANCE)
    )


def _send(command: subprocess.Popen[bytes], victim: str, number: signal.Signals) -> None:
    """A signal to the command, to the process in which its engine runs, or to both."""
    if command.poll() is not None:
        return
    parent = psutil.Process(command.pid)
    engines = [child for child in parent.children() if "EngineCore" in " ".join(child.cmdline())]
    for process in {"command": [parent], "EngineCore": engines, "all": [parent, *engines]}[victim]:
        process.send_signal(number)


def _end(command: subprocess.Popen[bytes]) -> None:
    """Whatever the command has left, so that trials do not disturb one another."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, and print a table.

    Returns:
        0 if every promise held, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills.capture", description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the first; each has its own")
    parser.add_argument("--out", type=Path, default=Path("out/kills-capture"), help="for logs")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    started, tallies = time.monotonic(), defaultdict[Fault, FaultTally](FaultTally)
    with tempfile.TemporaryDirectory() as folder:
        captures = Captures(Path(folder), options.out)
        for number in range(options.trials):
            fault = FAULTS[number % len(FAULTS)]
            captures.killed(fault, options.seed + number, found := tallies[fault])
            print(f"seed {options.seed + number}: {fault[0]}, {fault[1].name}, so far {found}")
    print("| process | signal | trials | stopped | hung | responses kept | broken |")
    print(f"|{'---|' * 7}")
    for (victim, kind), found in tallies.items():
        counts = (found.trials, found.stopped, found.hung, found.kept, len(found.broken))
        cells = (victim, kind.name, *counts)
        print(f"| {' | '.join(map(str, cells))} |")
    broken = [why for found in tallies.values() for why in found.broken]
    print(*broken, sep="\n")
    print(
        f"{options.trials} trials from seed {options.seed} at {commit()}: {len(broken)} broken "
        f"promises, {time.monotonic() - started:.0f} s"
    )
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
