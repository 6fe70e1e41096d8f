"""The commands of ``python -m compat``; the work is done in the other packages."""
