"""Which vLLM releases exist, and which cells of them the policy wants."""
