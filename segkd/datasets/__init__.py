"""Disk to `Batch`: pairing, label audit, per-sample seeded transforms, samplers, the embedded data set."""
