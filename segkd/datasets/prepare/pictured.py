"""Which picture below the data set's folder each drawing is of."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segkd.datasets.dicom import find_dicom
from segkd.datasets.lists import Entry, Names
from segkd.datasets.naming import composed
from segkd.datasets.packed import File
from segkd.datasets.prepare.drawing import Drawing, objects_of
from segkd.datasets.walk import pictures, walk
from segkd.types import InputError, some


def images_of(root: Path, drawings: Sequence[Drawing], masks: Collection[File], what: str) -> dict[Path, Drawing]:
    """The picture of each drawing, which is none of the `masks`; `what` begins the sentences of errors.

    Raises:
        InputError: a drawing has no picture, or two different ones have the same.
    """
    files = [path for path in walk(root, pictures()).files if path not in masks]
    pictured = _Pictured({path.relative_to(root).as_posix(): path for path in files})
    found: dict[Path, Drawing] = {}
    missing = []
    for drawing in drawings:
        path = pictured.find(drawing.file)
        if path is None:
            missing.append(drawing.file)
            continue
        first = found.setdefault(path, drawing)
        if not first.shapes:
            found[path] = drawing
        elif drawing.shapes and objects_of(first.shapes) != objects_of(drawing.shapes):
            raise InputError(
                f"{what}: expected one annotation of each image, found two of {path}. Keep one, or say which are "
                "meant: --annotations FOLDER."
            )
    if missing:
        raise InputError(
            f"{what}: expected the images that they name below {root}, found none or several of these names for "
            f"{len(missing)} of {len(drawings)}: {some(missing)}. "
            + (find_dicom(root) or "Add them, or give the folder that holds both")
            + "."
        )
    return found


class _Pictured:
    """Finds pictures by what annotations call them, which lie elsewhere: train/labels/1 is train/images/1.png, and
    never val/images/1.png."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self.known = Names([Entry(name, (name,)) for name in files])
        self.called: dict[str, list[str]] = {}
        for name in files:
            for end in {PurePosixPath(name).name, PurePosixPath(name).stem}:
                self.called.setdefault(composed(end), []).append(name)

    def find(self, file: str) -> Path | None:
        """The picture that a file of annotations, by its own folder and what is written there, calls `file`."""
        way = PurePosixPath(file.replace("\\", "/"))
        apart = set() if way.is_absolute() else self.known.folders & {*way.parts[:-1]}

        def fits(name: str) -> bool:
            return apart <= {*name.split("/")[:-1]}

        found = self.known.find(file)
        if found is None:
            same = [name for name in self.called.get(composed(way.name), []) if fits(name)]
            beside = "images".join(way.parent.as_posix().rsplit("labels", 1))  # as YOLO finds the one from the other
            same = [name for name in same if PurePosixPath(name).parent.as_posix() == beside] or same
            found = same[0] if len(same) == 1 else None
        return self.files[found] if found is not None and fits(found) else None
