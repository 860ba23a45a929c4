"""Grids of trainings: cells, statistics, tables and plots."""
