"""``validated_versions.json``: its records, its rows, and what they say of one vLLM."""
