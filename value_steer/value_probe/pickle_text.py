"""An interpreter of the part of pickle that describes a state dict.

It imports nothing and calls nothing: a tensor is noted as a view of a storage, and an object of any
other kind ends the reading.
"""

from __future__ import annotations

import pickletools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from value_steer.value_probe.limits import MAX_DIMENSIONS

if TYPE_CHECKING:
    import io
    from collections.abc import Callable


class NotPlainError(Exception):
    """The pickle holds something other than plain tensors."""


class DamagedError(Exception):
    """The file is cut off, contradicts itself or is of another kind."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A tensor that is no plain array of numbers: sparse, nested, quantized, fp4."""

    kind: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that lie in the file under a key."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True, slots=True)
class View:
    """A tensor: a storage, and where in it the numbers are."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Global:
    module: str
    name: str


def interpreted(stream: io.BytesIO) -> object:
    """The value of the next pickle in a stream, which is left behind it.

    Returns:
        Dicts with text or whole numbers as keys, lists, tuples, plain values; a :class:`View` or
        :class:`Odd` for each tensor.

    Raises:
        NotPlainError: It holds an object of another kind.
        DamagedError: It is cut off or no pickle.
    """
    try:
        with warnings.catch_warnings():
            # A damaged text may hold an escape that Python means to drop; nobody needs to know.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _run(stream)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        msg = f"its pickle is damaged: {error}"
        raise DamagedError(msg) from error


def _run(stream: io.BytesIO) -> object:
    machine = _Machine()
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "STOP":
            return machine.pop()
        machine.step(opcode.name, argument)
    msg = "its pickle has no end"
    raise DamagedError(msg)


_MARK = object()
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "MARK": _MARK}
_PUSH_ARGUMENT = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_IGNORED = {"PROTO", "FRAME"}
_NEW: dict[str, Callable[[], object]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, object] = {}
        self._steps: dict[str, Callable[[Any], None]] = {
            "TUPLE": lambda _: self._push(tuple(self._popped_to_mark())),
            "APPEND": lambda _: self._extend([self.pop()]),
            "APPENDS": lambda _: self._extend(self._popped_to_mark()),
            "SETITEM": lambda _: self._set([*reversed([self.pop(), self.pop()])]),
            "SETITEMS": lambda _: self._set(self._popped_to_mark()),
            "GLOBAL": lambda name: self._push(_Global(*name.split(" ", 1))),
            "STACK_GLOBAL": self._stack_global,
            "REDUCE": self._reduce,
            "BUILD": self._build,
            "BINPERSID": lambda _: self._push(_storage(self.pop())),
            "MEMOIZE": lambda _: self._memo.update({len(self._memo): self._stack[-1]}),
        }

    def pop(self) -> object:
        """The uppermost value; a mark is none."""
        value = self._stack.pop()
        if value is _MARK:
            msg = "a value is missing"
            raise ValueError(msg)
        return value

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401  (of any opcode)
        """Do what one opcode says."""
        if name in _PUSH_ARGUMENT:
            self._push(argument)
        elif name in _CONSTANTS:
            self._push(_CONSTANTS[name])
        elif name in _NEW:
            self._push(_NEW[name]())
        elif name in _TUPLES:
            values = [self.pop() for _ in range(_TUPLES[name])]
            self._push(tuple(reversed(values)))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            self._memo[argument] = self._stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self._push(self._memo[argument])
        elif name in self._steps:
            self._steps[name](argument)
        elif name not in _IGNORED:
            msg = f"opcode {name}"
            raise NotPlainError(msg)

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _popped_to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _extend(self, values: list[Any]) -> None:
        if not isinstance(target := self._stack[-1], list):
            msg = "something is appended to what is no list"
            raise ValueError(msg)  # noqa: TRY004  (of the pickle, not of the program)
        target += values

    def _set(self, values: list[Any]) -> None:
        target, keys = self._stack[-1], values[::2]
        # Nested tuples as keys take exponential time to hash.
        if not isinstance(target, dict) or not all(isinstance(key, (str, int)) for key in keys):
            msg = "an entry is set whose key is neither text nor a number"
            raise ValueError(msg)
        target.update(zip(keys, values[1::2], strict=True))

    def _build(self, _: object) -> None:
        self.pop()  # attributes, such as the versions of a state dict

    def _stack_global(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        # Not str(): a value that holds itself many times over prints without end.
        if not isinstance(name, str) or not isinstance(module, str):
            msg = "a function is named by something that is no text"
            raise ValueError(msg)  # noqa: TRY004  (of the pickle, not of the program)
        self._push(_Global(module, name))

    def _reduce(self, _: object) -> None:
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, _Global) or not isinstance(arguments, tuple):
            msg = "something is called that is no function"
            raise ValueError(msg)  # noqa: TRY004  (of the pickle, not of the program)
        self._push(_called(called, arguments))


def _called(called: _Global, arguments: tuple[Any, ...]) -> object:
    """A stand-in for the value of a call; nothing is called."""
    dotted = f"{called.module}.{called.name}"
    if dotted == "collections.OrderedDict" and not arguments:
        return {}
    if dotted == "torch._utils._rebuild_parameter":
        return arguments[0]
    if dotted in {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}:
        return _view(*arguments[:4])
    # Other tensors, and the dtypes and layouts they are made of.
    if called.module == "torch" or called.module.startswith("torch."):
        return Odd(dotted)
    raise NotPlainError(dotted)


def _view(storage: object, offset: object, size: object, stride: object) -> View | Odd:
    if isinstance(storage, Odd):
        return storage
    if not isinstance(storage, Storage):
        msg = "a tensor without storage"
        raise ValueError(msg)  # noqa: TRY004  (of the pickle, not of the program)
    return View(storage, _count(offset), _counts(size), _counts(stride))


def _counts(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > MAX_DIMENSIONS:
        msg = f"a tensor of more than {MAX_DIMENSIONS} dimensions, or of none that are stated"
        raise ValueError(msg)
    return tuple(map(_count, values))


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        msg = "a size, stride or offset that is no count"
        raise ValueError(msg)
    return value


def _storage(described: object) -> Storage | Odd:
    """A stand-in for the storage behind a persistent id of torch."""
    match described:
        case ("storage", _Global(module="torch", name=name), str(key), _, numel, *rest):
            if name not in DTYPES or any(part is not None for part in rest):
                return Odd(name)
            return Storage(key, DTYPES[name], _count(numel))
        case ("storage", _Global(), *_):
            return Odd("untyped storage")
        case _:
            msg = "a reference to what is no storage"
            raise ValueError(msg)


_MOST = 2**40
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""The storages that are read; what the numbers may be is for others to say."""
