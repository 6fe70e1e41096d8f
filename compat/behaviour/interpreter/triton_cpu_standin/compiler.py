"""The compiler of the stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from triton.backends.compiler import BaseBackend as _Base

if TYPE_CHECKING:
    from types import ModuleType

    from triton.backends.compiler import GPUTarget


class StandInBackend(_Base):
    """Claims the target ``cpu`` and refuses to compile for it."""

    @staticmethod
    def supports_target(target: GPUTarget) -> bool:
        """Whether the target is a CPU."""
        return bool(target.backend == "cpu")

    def hash(self) -> str:
        """A constant: nothing is compiled, so nothing is cached."""
        return "stand-in"

    def parse_options(self, options: dict[str, object]) -> NoReturn:
        """Refuse."""
        _refuse()

    def add_stages(self, stages: object, options: object, language: object = None) -> NoReturn:
        """Refuse."""
        _refuse()

    def load_dialects(self, context: object) -> None:
        """There are none."""

    def get_module_map(self) -> dict[str, ModuleType]:
        """There are none."""
        return {}


def _refuse() -> NoReturn:
    msg = "this Triton back end only stands in for one: set TRITON_INTERPRET=1"
    raise RuntimeError(msg)
