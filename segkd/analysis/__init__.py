"""Trained runs -> evidence."""
