"""The compatibility machine: finds out on which vLLM releases value-steer works."""
