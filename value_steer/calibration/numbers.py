"""Numbers that come from a caller, read as numbers or refused."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.errors import CalibrationError
from value_steer.records.fields import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray


def array_of(name: str, values: Any) -> NDArray[np.float64]:  # noqa: ANN401  (what people pass)
    """An array in double precision, in which every fp32 and bf16 number is exact.

    Args:
        name: Of the argument, for messages.
        values: Numbers, a numpy array, or a torch tensor of any precision on any device.

    Raises:
        CalibrationError: It is ragged, or made of something other than numbers.
    """
    try:
        if hasattr(values, "detach"):  # numpy has no bf16
            values = values.detach().cpu()
            values = (values.double() if values.is_floating_point() else values).numpy()
        array = np.asarray(values)
    # NotImplementedError and other RuntimeErrors are torch's, of a tensor without plain numbers.
    except (TypeError, ValueError, RuntimeError) as error:
        msg = f"{name}: must be numbers ({error})"
        raise CalibrationError(msg) from error
    if array.size == 0:
        return array.reshape(-1).astype(np.float64) if array.ndim < 2 else np.zeros(array.shape)
    if array.dtype.kind not in "fiu":
        msg = f"{name}: must be numbers, got {array.dtype}"
        raise CalibrationError(msg)
    return array.astype(np.float64, copy=False)


def probabilities_of(name: str, values: Any) -> NDArray[np.float64]:  # noqa: ANN401  (see above)
    """A list of numbers from 0 to 1; NaN, which every rule acts on, is let through.

    Raises:
        CalibrationError: It is none.
    """
    array = array_of(name, values)
    if array.ndim == 1 and array.size and array.min() >= 0 and array.max() <= 1:
        return array  # the usual case, in two passes
    if array.ndim != 1 or not (((array >= 0) & (array <= 1)) | np.isnan(array)).all():
        msg = f"{name}: each must be a list of probabilities, numbers from 0 to 1"
        raise CalibrationError(msg)
    return array


def number_of(name: str, value: object, low: float, high: float) -> float:
    """One number in a range.

    Raises:
        CalibrationError: It is not a number, NaN among them, or outside of ``low`` to ``high``.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        msg = f"{name} = {shown(value)}: must be a number from {low:g} to {high:g}"
        raise CalibrationError(msg)
    return float(value)  # type: ignore[arg-type]


def whole_of(name: str, value: object, low: int) -> int:
    """One whole number from ``low`` on.

    Raises:
        CalibrationError: It is none.
    """
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or int(value) < low:  # type: ignore[call-overload]
        msg = f"{name} = {shown(value)}: must be at least {low}, and a whole number"
        raise CalibrationError(msg)
    return int(value)  # type: ignore[call-overload, no-any-return]
