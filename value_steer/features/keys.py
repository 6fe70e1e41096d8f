"""Names by which driver and worker know each other's requests."""

CAPTURE_KEY = "capture_key"
"""The entry of ``SamplingParams.extra_args`` that asks for a request's hidden states."""
