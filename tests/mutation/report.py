"""``python -m tests.mutation.report``: the score of a mutation run, and the mutants that survive.

The score counts the mutants that at least one selected test passes through.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path("mutants")
_SURVIVED, _NO_TEST = 0, 33
_TIMEOUTS = {-24, 24, 36}


def main() -> int:
    """Print a row per module and the survivors.

    Returns:
        0 if all were run and the score is the one that is asked for, else 1.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.report", description=__doc__)
    parser.add_argument("--least", type=float, default=0.9, help="score (default: %(default)s)")
    parser.add_argument("--survivors", action="store_true", help="show each with its change")
    options = parser.parse_args()
    ends = {path: _ends(path) for path in sorted(FOLDER.rglob("*.meta"))}
    lines = [
        "| module | mutants | killed | timed out | survived | no test | score |",
        f"|{'---|' * 7}",
    ]
    whole: Counter[str] = Counter()
    for path, found in ends.items():
        counts = Counter(map(_word, found.values()))
        whole.update(counts)
        if found:
            lines.append(_row(path.relative_to(FOLDER).as_posix().removesuffix(".meta"), counts))
    lines.append(_row("all", whole))
    if options.survivors:
        survivors = [n for found in ends.values() for n, end in found.items() if end == _SURVIVED]
        lines += [f"\n{name}\n{_change(name)}" for name in survivors]
    if whole["not run"]:
        lines.append(f"{whole['not run']} were not run: nox -s mutants goes on with them")
    sys.stdout.write("\n".join(lines) + "\n")
    return int(whole["not run"] > 0 or _score(whole) < options.least)


def _ends(path: Path) -> dict[str, int | None]:
    found: dict[str, int | None] = json.loads(path.read_bytes())["exit_code_by_key"]
    return found


def _word(end: int | None) -> str:
    if end in _TIMEOUTS:
        return "timed out"
    if end is None:
        return "not run"
    return {_SURVIVED: "survived", _NO_TEST: "no test"}.get(end, "killed")


def _score(counts: Counter[str]) -> float:
    found = counts["killed"] + counts["timed out"]
    return found / max(1, found + counts["survived"])


def _row(name: str, counts: Counter[str]) -> str:
    columns = [counts[word] for word in ("killed", "timed out", "survived", "no test")]
    cells = map(str, (name, counts.total(), *columns, f"{_score(counts):.1%}"))
    return f"| {' | '.join(cells)} |"


def _change(name: str) -> str:
    shown = subprocess.run(["mutmut", "show", name], capture_output=True, text=True, check=True)  # noqa: S607
    lines = shown.stdout.splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


if __name__ == "__main__":
    sys.exit(main())
