"""What each command of ``python -m compat`` does; the work is done in the other packages."""
