"""The behavioural suite: what steering must do on a real engine, as pytest tests.

It runs inside the isolation of a matrix cell, against the built wheel. Test modules import
neither torch nor vLLM at the top, so that the expected tests can be collected anywhere.
"""
