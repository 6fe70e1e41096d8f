"""Kills processes of the real server under load: ``python -m benchmarks.kills --trials 40``.

``nox -s kills`` runs it where vLLM is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.kills import trial
from benchmarks.soak.comparison import difference
from benchmarks.soak.record import commit
from benchmarks.soak.schedule import catalogue, without_steering
from benchmarks.soak.serving import SoakServer
from value_steer.recalibration.recorded import read_traffic
from value_steer.value_probe import load_value_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import ClientSession

    from benchmarks.kills.tally import Tally
    from benchmarks.soak.client import Answer

SHARE = 0.2
"""Of the requests that are recorded and not acted on."""

_COLUMNS = ("whole", "untold", "cut", "told", "waiting")

Fault = tuple[str, signal.Signals, int]
"""Which process, the signal, and how many ranks the engine has."""

FAULTS: tuple[Fault, ...] = (
    ("API server", signal.SIGKILL, 1),
    ("EngineCore", signal.SIGKILL, 1),
    ("API server", signal.SIGTERM, 1),
    ("Worker", signal.SIGKILL, 2),
    ("EngineCore", signal.SIGTERM, 1),
    ("all", signal.SIGTERM, 2),
    ("Worker", signal.SIGTERM, 2),
    ("API server", signal.SIGINT, 1),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Kill, and print a table.

    Returns:
        0 if every promise held, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0, help="of the first; each has its own")
    parser.add_argument("--blocks", type=int, default=160, help="of 16 tokens: size of the cache")
    parser.add_argument("--plain", action="store_true", help="without value-steer, to compare with")
    parser.add_argument("--out", type=Path, default=Path("out/kills"))
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kills = Kills(Path(folder), options.out, options.blocks, plain=options.plain)
        for number in range(options.trials):
            kills.one(FAULTS[number % len(FAULTS)], options.seed + number)
        kills.recover()
        table(kills.tallies)
    broken = sum(bool(found.broken) for _, found in kills.tallies)
    print(
        f"{options.trials} trials from seed {options.seed} at {commit()}: {broken} with a broken "
        f"promise, {time.monotonic() - started:.0f} s; {kills.answers} recorded answers are read"
    )
    return int(broken > 0)


class Kills:
    """Servers one after the other, each of which is killed.

    Args:
        folder: For models, heads and recorded traffic, which they share.
        out: For their logs.
        blocks: Size of their cache.
        plain: Whether they are without value-steer.

    Attributes:
        tallies: What came of each, in order.
        answers: Recorded ones that can be read.
    """

    def __init__(self, folder: Path, out: Path, blocks: int, *, plain: bool) -> None:
        self.tallies: list[tuple[Fault, Tally]] = []
        self.answers = 0
        self._folder, self._out, self._blocks, self._plain = folder, out, blocks, plain
        (folder / "traffic").mkdir()
        self._templates = catalogue(0, 40)
        if plain:
            self._templates = [without_steering(template) for template in self._templates]
        # Ranks add in another order, so an answer is compared with one of as many.
        self._alone: dict[int, dict[int, Answer]] = {}

    def one(self, fault: Fault, seed: int) -> None:
        """Start a server, load it and kill it; then what it recorded has to be readable."""
        victim, number, ranks = fault
        tally = asyncio.run(self._one(victim, number, ranks, seed))
        if not self._plain:
            before, self.answers = self.answers, len(self._recorded())
            if self.answers < before:
                tally.broken.append(f"{before} recorded answers were there, now {self.answers}")
        self.tallies.append((fault, tally))
        print(f"seed {seed}: {victim}, {number.name}, {ranks} ranks: {tally}", flush=True)

    def recover(self) -> None:
        """After the last kill a server answers as the first one did."""
        for ranks in self._alone:
            asyncio.run(self._recovered(ranks))

    async def _one(self, victim: str, number: signal.Signals, ranks: int, seed: int) -> Tally:
        server = self._server(ranks, f"{seed}.log")
        try:
            async with server.session() as session:
                await server.come_up(session)
                changed = await self._changed(session, ranks)
                tally = await trial.kill(
                    server, session, victim, number, self._alone[ranks], self._templates, seed
                )
        finally:
            server.end()
        tally.broken += changed
        return tally

    async def _recovered(self, ranks: int) -> None:
        server = self._server(ranks, f"last-{ranks}.log")
        try:
            async with server.session() as session:
                await server.come_up(session)
                self.tallies[-1][1].broken += await self._changed(session, ranks)
        finally:
            server.end()

    async def _changed(self, session: ClientSession, ranks: int) -> list[str]:
        """Answers given alone that are not those of the first server."""
        now = await trial.alone(session, self._templates)
        first = self._alone.setdefault(ranks, now)
        found = {n: difference(first[n], answer) for n, answer in now.items()}
        return [f"alone, template {n}: {why}" for n, why in found.items() if why is not None]

    def _server(self, ranks: int, log: str) -> SoakServer:
        record = {"record": {"directory": str(self._folder / "traffic"), "share": SHARE}}
        parallel = () if ranks == 1 else ("--tensor-parallel-size", str(ranks))
        return SoakServer(
            self._folder,
            self._out / log,
            self._blocks,
            plain=self._plain,
            more=parallel,
            sections=record,
        )

    def _recorded(self) -> Sequence[object]:
        head = load_value_head(self._folder / "head.safetensors")
        return read_traffic(self._folder / "traffic", head).answers


def table(tallies: Sequence[tuple[Fault, Tally]]) -> None:
    """Print what came of each fault."""
    print(
        "| process | signal | ranks | trials | whole answers | without outcome | cut | errors "
        "| clients left waiting | trials with processes left | broken |"
    )
    print(f"|{'---|' * 11}")
    trials = Counter(fault for fault, _ in tallies)
    for fault, count in trials.items():
        of = [tally for other, tally in tallies if other == fault]
        left = sum(bool(tally.remaining) for tally in of)
        sums = [sum(getattr(o, name) for o in of) for name in _COLUMNS]
        broken = sum(bool(tally.broken) for tally in of)
        name, number, ranks = fault
        cells = (name, number.name, ranks, count, *sums, left, broken)
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    sys.exit(main())
