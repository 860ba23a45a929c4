"""Draws of which domain, class or image is seen how often: found by scanning."""
