"""Which extra of the package brings a module that is missing."""

from __future__ import annotations

from importlib.util import find_spec

EXTRAS = {
    "vllm": ("vllm",),
    "train": ("filelock", "pyarrow", "rich", "transformers"),
    "judge": ("openai",),
    "maths": ("math_verify",),
    "ray": ("ray",),
    "evaluate": ("jinja2", "matplotlib", "rapidfuzz", "scipy"),
    "index": ("pypi_simple", "requests"),
}
"""The modules of each extra, as they are imported."""


def advice(error: ModuleNotFoundError) -> str:
    """The extra to install.

    Raises:
        ModuleNotFoundError: The error itself, if no extra brings the module: that is a fault.
    """
    module = (error.name or "").partition(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return f'{module} is not installed; run: pip install "value-steer[{extra}]"'
    raise error


def missing(extra: str) -> tuple[str, ...]:
    """The modules of an extra that are not installed; none of them is imported."""
    return tuple(module for module in EXTRAS[extra] if find_spec(module) is None)
