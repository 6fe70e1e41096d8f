"""Evidence on disk: the one writer, fragments of parallel jobs, withdrawals, tables."""
