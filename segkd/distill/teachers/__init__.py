"""Who teaches."""
