"""The lanes of the matrix: on which machines a cell runs, and how the host is made to run there."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from compat.errors import UsageError
from value_steer.contracts.surface import Runner

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane; its text is the name that rows, plans and commands have for it.

    Attributes:
        machine: ``cpu``, or a class of GPUs such as ``cuda-sm80``.
        interpreted: Whether Triton's kernels are, because nothing compiles them for a CPU; it is
            how Model Runner V2 runs there.
        asynchronous: Whether a CPU is made to schedule as a GPU does by itself.
    """

    machine: str
    interpreted: bool = False
    asynchronous: bool = False

    def __str__(self) -> str:
        words = {"interpreted": self.interpreted, "async": self.asynchronous}
        return "-".join([self.machine, *(word for word, applies in words.items() if applies)])

    @property
    def is_cpu(self) -> bool:
        """Whether it needs no GPU."""
        return self.machine == CPU

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """The folders of the suite that are on ``PYTHONPATH`` here: each stands in for a part."""
        folders = {"interpreter": self.interpreted, "asynchronous": self.asynchronous}
        return tuple(folder for folder, applies in folders.items() if applies)


OF_A_CPU = tuple(
    Lane(CPU, interpreted, asynchronous)
    for asynchronous, interpreted in product((False, True), repeat=2)
)
STAND_INS = Lane(CPU, interpreted=True, asynchronous=True).stand_ins
"""Every folder of the suite that some lanes alone use."""


def family(name: str) -> str:
    """``cpu`` or ``cuda``, by a lane's name: whose build of vLLM it runs."""
    return name.partition("-")[0]


def parse(name: str) -> Lane:
    """The lane of a name.

    Raises:
        UsageError: A CPU has no such lane.
    """
    if family(name) != CPU:
        return Lane(name)
    for lane in OF_A_CPU:
        if str(lane) == name:
            return lane
    msg = f"{name!r} is no lane of a CPU; there are {', '.join(map(str, OF_A_CPU))}"
    raise UsageError(msg)


def of(machine: str, runner: str, *, asynchronous: bool) -> Lane:
    """The lane of a model runner on a machine.

    Raises:
        UsageError: Asynchronous scheduling is asked for where it is the host's own choice.
    """
    if machine == CPU:
        return Lane(CPU, interpreted=runner == Runner.V2, asynchronous=asynchronous)
    if asynchronous:
        msg = (
            f"--async is for CPUs, and this machine is lane {machine}, where vLLM schedules "
            "asynchronously by itself; leave it out, or choose a CPU with --lane cpu-async"
        )
        raise UsageError(msg)
    return Lane(machine)
