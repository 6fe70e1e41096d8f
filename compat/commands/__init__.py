"""What each command of ``python -m compat`` does."""
