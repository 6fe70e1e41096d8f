"""Inference-time value steering for vLLM: abstention and value-filtered decoding."""

__version__ = "0.1.0.dev0"
