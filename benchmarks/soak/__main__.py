"""Holds the real server under mixed load: ``python -m benchmarks.soak --minutes 30``.

``nox -s soak`` runs it where vLLM is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soak import report
from benchmarks.soak.load import LoadGenerator
from benchmarks.soak.record import Record, commit
from benchmarks.soak.schedule import catalogue, without_steering
from benchmarks.soak.serving import SoakServer

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    """Soak, print the gates, write the report.

    Returns:
        0 if no gate is broken, 1 if one is, 128 and the signal's number if it was ended.
    """
    options = _parser().parse_args(argv)
    settings = {name: value for name, value in vars(options).items() if name != "out"}
    record = Record(options.seed, commit(), settings)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    ended: list[int] = []
    try:
        asyncio.run(_interruptible(options, record, ended))
        record.ended = "as planned"
    except asyncio.CancelledError:
        record.ended = signal.Signals(ended[0]).name
    except BaseException as error:
        record.ended = repr(error)
        raise
    finally:
        gates = report.gates_of(record)
        report.write(record, options.out, gates)
        for gate in gates:
            print(gate)
        for name, first in record.shown.items():
            print(f"{name}: {record.failed[name]}, the first: {first[0]}")
        print(
            f"{record.finished} requests, {record.tokens} tokens, seed {record.seed} at "
            f"{record.commit}, ended {record.ended}: {options.out}"
        )
    if ended:
        return 128 + ended[0]
    return int(any(gate.verdict == "broken" for gate in gates))


async def _interruptible(options: argparse.Namespace, record: Record, ended: list[int]) -> None:
    soak = asyncio.ensure_future(_soak(options, record))

    def end(number: int) -> None:
        ended.append(number)
        soak.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    await soak


async def _soak(options: argparse.Namespace, record: Record) -> None:
    templates = catalogue(options.seed, options.templates)
    if options.plain:
        templates = [without_steering(template) for template in templates]
    with tempfile.TemporaryDirectory() as folder:
        log = options.out.with_suffix(".server.log")
        server = SoakServer(Path(folder), log, options.blocks, plain=options.plain)
        record.log = server.failures
        try:
            async with server.session() as session:
                await server.come_up(session)
                record.started = time.monotonic()

                def written() -> None:
                    server.read_log()
                    report.write(record, options.out, [])
                    print(f"{record.finished} requests, {dict(record.failed)}", flush=True)

                load = LoadGenerator(server, session, templates, record)
                await load.run(_seconds(options), options.requests or sys.maxsize, written)
        finally:
            server.read_log()  # what it says when it is ended is no failure
            server.end()


def _seconds(options: argparse.Namespace) -> float:
    given = (options.hours or 0) * 3600 + (options.minutes or 0) * 60
    return given or (math.inf if options.requests else 60.0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, help="of load (default: 1)")
    parser.add_argument("--hours", type=float, help="of load, beside the minutes")
    parser.add_argument("--requests", type=int, help="of load, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--templates", type=int, default=200, help="different requests")
    parser.add_argument("--blocks", type=int, default=160, help="of 16 tokens: size of the cache")
    parser.add_argument("--plain", action="store_true", help="without value-steer, to compare with")
    parser.add_argument("--out", type=Path, default=Path("out/soak/report.json"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
