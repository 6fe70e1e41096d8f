"""The worth of steering: stop rules on finished responses, and steered decoding beside others."""
