"""JSON to frozen records and back, and files that are replaced whole."""
