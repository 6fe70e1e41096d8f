"""Steering over HTTP, for callers and for operators.

``vllm serve … --middleware value_steer.http.Steering`` puts the outcome into each answer, the
counters into ``/metrics``, and ``/v1/value-steer`` beside the server's own routes.
"""

from value_steer.http.middleware import Steering

__all__ = ["Steering"]
