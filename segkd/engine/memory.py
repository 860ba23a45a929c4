"""Telling that memory is exhausted from every other trouble: each library has words of its own for it."""

SIGNS = ("allocate memory", "allocate buffer", "out of memory", "not enough memory", "insufficient memory", "bad_alloc")
"""What torch, OpenCV, onnxruntime and the system say."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine, or of a device, is exhausted."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in SIGNS)
