"""The stand-in interprets faster than Triton does by itself, and to the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compat.cell.host import kernels
from compat.checkout import ROOT, SUITE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, Final

STAND_IN = ROOT / SUITE / "interpreter"

pytest.importorskip("triton", reason="PyTorch for CPUs brings no Triton")

_PROGRAM: Final = '''
import json

import torch
import triton
import triton.language as tl
from triton.language import random


@triton.jit
def draw(seed, counter, uniform, words, wide, SIZE: tl.constexpr):
    """As vLLM's sampler does: a seed from a position, then a block of numbers from the seed."""
    program = tl.program_id(0)
    block = program * SIZE + tl.arange(0, SIZE)
    derived = tl.randint(tl.load(seed + program), tl.load(counter + program))
    tl.store(uniform + block, tl.rand(derived, block))
    a, b, c, d = tl.randint4x(tl.load(seed), block, 7)
    tl.store(words + block, a ^ b ^ c ^ d)
    tl.store(wide + block, tl.randint(tl.load(seed), block.to(tl.int64)))


@triton.jit
def keyed(out, SIZE: tl.constexpr):
    """A key to each lane, which no sampler of vLLM has."""
    lane = tl.arange(0, SIZE)
    a, b, c, d = random.philox(lane, lane, lane, lane, lane)
    tl.store(out + lane, a ^ b ^ c ^ d)


def drawn(size):
    seeds = torch.tensor([0, 1, -1, 2**40 + 7], dtype=torch.int64)
    counters = torch.tensor([0, 511, 2**31, 2**62], dtype=torch.int64)
    uniform = torch.zeros(4 * size)
    words = torch.zeros(4 * size, dtype=torch.int32)
    wide = torch.zeros(4 * size, dtype=torch.int64)
    draw[(4,)](seeds, counters, uniform, words, wide, SIZE=size)
    by_lane = torch.zeros(size, dtype=torch.int32)
    keyed[(1,)](by_lane, SIZE=size)
    return [t.tolist() for t in (uniform, words, wide, by_lane)]


print(json.dumps([drawn(1), drawn(32)]))
'''


def test_random_numbers_are_those_of_triton(tmp_path: Path) -> None:
    """Philox of 32 and 64 bits, of one lane and of many, with a key for all and with one each."""
    program = tmp_path / "draw.py"
    program.write_text(_PROGRAM)
    expected, found = _run(program, path=""), _run(program, path=str(STAND_IN))
    assert found == expected
    uniform, words, wide, by_lane = found[1]
    assert len({*uniform}) == len({*words}) == len({*wide}) == 4 * 32
    assert len({*by_lane}) == 32


_COUNT: Final = """
import inspect

calls = 0
members = inspect.getmembers


def counted(thing):
    global calls
    calls += thing is tl.core.tensor_descriptor_base
    return members(thing)


inspect.getmembers = counted
drawn(32)
print(json.dumps(calls))
"""


def test_the_interpreter_is_spared_its_repetitions(tmp_path: Path) -> None:
    """What the stand-in replaces is there to replace: else a cell takes thrice the time, unseen."""
    program = tmp_path / "count.py"
    program.write_text(_PROGRAM + _COUNT)
    expected, found = _run(program, path=""), _run(program, path=str(STAND_IN))
    assert found == 2 + 2, "each kernel looks into the language, its functions into the core"
    assert expected > 10 * found, "each function looks again"


def _run(program: Path, *, path: str) -> Any:
    environment = {**os.environ, **kernels("cpu-interpreted"), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
