"""Everything that is fuzzed."""

from tests.fuzz import commands, data, heads, matrix, replies, settings

TARGETS = tuple(
    target
    for module in (data, heads, settings, replies, matrix, commands)
    for target in module.TARGETS
)
"""Each with a name of its own."""
