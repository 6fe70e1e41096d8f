"""Devices that a reader may name: GPUs by compute capability, and CPUs."""

from __future__ import annotations

from compat.report.model import Column, Device


def _gpu(name: str, capability: str, *aliases: str, article: str = "an") -> Device:
    return Device(
        id=name.lower(),
        name="/".join([name, *aliases]),
        phrase=f"{article} {name}",
        there="on that GPU",
        column=Column.GPU,
        lane=f"cuda-sm{capability}",
        aliases=(f"sm{capability}", f"cuda-sm{capability}", *(a.lower() for a in aliases)),
    )


DEVICES = (
    Device("cpu", "CPU", "a CPU", "that way", Column.CPU),
    Device(
        "async",
        "CPU, asynchronous scheduling",
        "a CPU (asynchronous scheduling)",
        "that way",
        Column.ASYNC,
    ),
    _gpu("A100", "80"),
    _gpu("A10", "86", "A40", "A6000", "3090"),
    _gpu("L40S", "89", "L4", "4090"),
    _gpu("H200", "90", "H100", "GH200"),
    _gpu("B200", "100", "GB200", article="a"),
    _gpu("B300", "103", "GB300", article="a"),
    _gpu("5090", "120", "RTX-Pro-6000", article="a"),
)
