"""How much a head's files may claim before anything is allocated for them; see ``SECURITY.md``."""

from __future__ import annotations

MAX_HIDDEN_SIZE = 32_768
"""Widest backbone; the widest that is served today has 18,432."""

MAX_HEAD_BYTES = 4 * (2 * MAX_HIDDEN_SIZE**2 + 3 * MAX_HIDDEN_SIZE + 1) + 2**20
"""Largest head file: three layers of that width in fp32, and a mebibyte for all else."""

MAX_CARD_BYTES = 2**22
"""Largest sidecar; one with a curve for each of a thousand groups is smaller."""

MAX_HEADER_BYTES = 2**23
"""Largest header of a safetensors file; it holds the card."""

MAX_PICKLE_BYTES = 2**20
"""Largest part of a ``.pt`` or ``.bin`` file that is not the tensors' own numbers."""

MAX_RECORDS = 4096
"""Most entries of a ``.pt`` file, which is a zip archive."""

MAX_DIMENSIONS = 8
"""Most dimensions of a tensor."""

MAX_ARRAY_BYTES = 2**24
"""Largest array in an ``.npz`` file, after it is inflated."""
