"""The door to one file of a data set: `read_image` and `read_mask`, as training and evaluation read them."""

from segkd.datasets.pictures import How, read_image, read_mask

__all__ = ["How", "read_image", "read_mask"]
