"""What steering is worth: stop rules on finished responses, and steered decoding beside others."""
