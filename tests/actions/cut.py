"""Some cells of the matrix alone: what the job ``plan`` hands on is cut as it makes it.

So the jobs after it, and the plan that ``record`` and ``gate`` go by, agree about the cells.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.actions.records import ActionsError, Say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.actions.machine import Machine

JOB = "plan"
FILE = Path("out", "plan.json")
OUTPUT = "matrix"


@dataclass(frozen=True, slots=True)
class Cut:
    """Which cells are kept.

    Attributes:
        names: Of cells, or of releases with all of their cells.
        say: Shows a line.
    """

    names: tuple[str, ...]
    say: Say

    def __call__(self, machine: Machine, outputs: dict[str, str]) -> dict[str, str]:
        """Cut the outputs of a step and the file that it has written."""
        path = machine.workspace / FILE
        if path.is_file():
            path.write_text(f"{json.dumps(self._kept(path.read_text('utf-8')), indent=2)}\n")
        if OUTPUT not in outputs:
            return outputs
        kept = self._kept(outputs[OUTPUT])
        count = len(kept["include"])
        of = len(json.loads(outputs[OUTPUT])["include"])
        self.say(f"  --cells: {count} of the {of} cells of the plan go on")
        return {**outputs, OUTPUT: json.dumps(kept), "count": str(count)}

    def _kept(self, text: str) -> dict[str, list[Mapping[str, str]]]:
        cells = json.loads(text)["include"]
        known = {word for cell in cells for word in (cell["name"], cell["vllm"])}
        if unknown := [name for name in self.names if name not in known]:
            releases = ", ".join(dict.fromkeys(cell["vllm"] for cell in cells))
            example = cells[0]["name"]
            msg = f"--cells {' '.join(unknown)}: not in the plan; its releases are {releases}"
            msg = f"{msg}, its cells are called like {example}"
            raise ActionsError(msg)
        return {"include": [c for c in cells if {c["name"], c["vllm"]} & set(self.names)]}
