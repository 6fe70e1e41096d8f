"""What steering costs, measured; never in the wheel."""
