"""Tests of compat.isolate."""
