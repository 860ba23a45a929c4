"""Image <-> spectrum: block DCT, quantisation with learnable tables, and what else disturbs images by frequency."""
