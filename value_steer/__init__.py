"""Inference-time value steering for vLLM: dynamic abstention from one trained value head."""

__version__ = "0.1.0.dev0"
