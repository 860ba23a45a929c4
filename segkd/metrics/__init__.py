"""Prediction x label -> counts -> scores: one histogram, one line per score."""
