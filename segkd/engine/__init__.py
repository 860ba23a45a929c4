"""Learner, step, loop, optimiser, evaluation, checkpoints, records."""
