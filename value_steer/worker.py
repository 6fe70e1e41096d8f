"""The name to give vLLM: ``--worker-cls value_steer.worker.ValueSteerWorker``."""

from value_steer.engine.worker import ValueSteerWorker

__all__ = ["ValueSteerWorker"]
