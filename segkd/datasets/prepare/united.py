"""The objects of one image that several files of annotations hold."""

from collections.abc import Iterable
from pathlib import Path

from segkd.datasets.geometry import in_pixels
from segkd.datasets.prepare.drawing import Drawing, Shape, object_of, objects_of
from segkd.types import InputError

ONCE = "images that several files name have the objects of each, what two of them hold once"
"""What is said where files of one image are united."""


class United:
    """The drawings of several files, one for each image.

    Files of one image may be for a class each, or one may hold what another does, too (COCO's file of people beside
    that of all things; a project beside its export). Others are an older and a newer one: drawn together, objects would
    be where there are none.
    """

    def __init__(self) -> None:
        self.drawings: dict[str, Drawing] = {}
        self._homes: dict[str, list[tuple[Path, list[Shape]]]] = {}
        self._classes: dict[Path, set[str]] = {}

    def add(self, path: Path, drawings: Iterable[Drawing]) -> None:
        """Adds the drawings of a file.

        Raises:
            InputError: of an image that another file has, or the file itself, it holds other objects of its classes, or
                another size.
        """
        every = list(drawings)
        self._classes[path] = {shape.name for one in every for shape in one.shapes}
        for one in every:
            homes = self._homes.setdefault(one.file, [])
            for home, shapes in homes:
                if self._classes[home].isdisjoint(self._classes[path]):
                    continue
                objects, others = objects_of(one.shapes), objects_of(shapes)
                if not (objects <= others or others <= objects):
                    raise _two_of(one.file, path, home)
            homes.append((path, [*one.shapes]))
            first = self.drawings.setdefault(one.file, one)
            if first is not one:
                _refuse_sizes(first, one, path, homes[0][0])
                _join(first, one)


def _two_of(file: str, path: Path, home: Path) -> InputError:
    if home == path:
        return InputError(f"{path}: {file}: expected one entry for each image, found two with other objects, so that "
                          "it is not known which are meant. Take one out.")  # fmt: skip
    return InputError(
        f"{path}: {file}: expected the objects of an image in one file, or a file for each class, found others in "
        f"{home}. Take the older one away, or say which is meant: --annotations {path}; where images of two "
        "folders are called so, write the folders before their names."
    )


def _refuse_sizes(first: Drawing, one: Drawing, path: Path, home: Path) -> None:
    if one.size is not None and first.size not in (None, one.size):
        raise InputError(f"{path}: {one.file}: expected {in_pixels(first.size)} pixels, as {home} says, found "
                         f"{in_pixels(one.size)}. Take one of the files away, or export once more.")  # fmt: skip


def _join(first: Drawing, one: Drawing) -> None:
    known = objects_of(first.shapes)
    for shape in one.shapes:
        key = object_of(shape)
        if known[key] > 0:
            known[key] -= 1
        else:
            first.shapes.append(shape)
    first.size = first.size or one.size
    first.left_out += one.left_out
    first.notes += [*one.notes, ONCE]
