"""The cost of steering, measured; never in the wheel."""
