"""What was measured, to look at: one self-contained HTML page."""
