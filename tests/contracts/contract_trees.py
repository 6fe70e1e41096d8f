"""A source tree that needs no disk, and what a need finds in one of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from value_steer.contracts.lookup import Sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from value_steer.contracts.needs import Need


@dataclass(frozen=True)
class MemoryTree:
    """A source tree that is held in memory."""

    files: Mapping[str, str]
    stated: str | None = "99.0.0"

    def read(self, path: str) -> str | None:
        """The text of ``path``."""
        return self.files.get(path)

    def version(self) -> str | None:
        """The version it was made with."""
        return self.stated

    def having(self, path: str, text: str) -> MemoryTree:
        """This tree with other text at ``path``."""
        return MemoryTree({**self.files, path: text}, self.stated)

    def lacking(self, path: str) -> MemoryTree:
        """This tree without the file at ``path``, whose text is found under another name."""
        files = {**self.files, path.replace(".py", "_moved.py"): self.files[path]}
        return MemoryTree({name: text for name, text in files.items() if name != path})


def problem(need: Need, source: str, symbol: str = "X") -> str | None:
    """What ``need`` finds wrong with ``symbol`` of a one-file tree."""
    sources = Sources(MemoryTree({"vllm/x.py": source}))
    return need.problem(sources.find("vllm/x.py", symbol), sources)
