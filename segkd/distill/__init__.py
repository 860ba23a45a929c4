"""Prediction x Batch -> named terms: who teaches (`teachers/`) and what is compared (`knowledge/`)."""
