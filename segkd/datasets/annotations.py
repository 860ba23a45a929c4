"""Annotations that are no masks (COCO, LabelMe, YOLO, CVAT, VIA, run lengths, boxes, ...), recognised by content."""

import csv
import mmap
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from segkd.datasets.dicom import find_dicom
from segkd.datasets.lists import HEADINGS
from segkd.datasets.walk import GLANCE, pictures, walk

ENDINGS = (".json", ".xml", ".csv", ".tsv", ".txt")
"""Extensions (lower case) of annotations, the likeliest first."""

READ = 100_000
"""Bytes looked at, at the beginning of a file and at its end."""

WANTED = "segkd reads masks: one picture per image, with the image's name, whose pixels are class numbers"

DRAWN = "`segkd prepare FOLDER --out DATA.yaml` draws them as masks beside the data"

KAGGLE = "Kaggle run-length"

RUNS = frozenset({"encodedpixels", "rle_mask", "rle", "encoding", "segmentation", "annotation", "mask_rle"})
"""Headings (lower case) of the column of run lengths in Kaggle's tables."""

JOINED = ("imageid_classid", "image_label")
"""Headings (lower case) of a column that holds an image's name and a class behind it."""

IMAGES = re.compile("image|img|picture|photo|file")
"""What headings (lower case) hold that can head nothing else but images."""

BEYOND = 0.1
"""How far a YOLO outline may reach beyond its picture, in shares of the picture's sides: tools round, and cut late."""

CURES = {
    "COCO": DRAWN,
    "COCO panoptic": "its masks are the PNG files that it names: give their folder as data.masks, with data.colours",
    "COCO box": "a box has no outline to learn: segmentation needs polygons, run lengths or masks",
    "LabelMe": DRAWN,
    "YOLO polygon": DRAWN,
    "YOLO box": "a box has no outline to learn: segmentation needs polygons or masks",
    "CVAT": DRAWN,
    "CVAT box": "a box has no outline to learn: segmentation needs polygons or masks",
    "Pascal VOC box": "a box has no outline to learn: segmentation needs masks (VOC's own lie in SegmentationClass)",
    "VIA": DRAWN,
    "VIA 3 table": "the project alone names its classes: save the project of VIA 3 (JSON), which is drawn",
    KAGGLE: DRAWN,
    "ImageScope": "fill the vertices of each region with `cv2.fillPoly(mask, [points], 1)`, and save as PNG named like "
    "its image",
    "Label Studio": "export the project once more as COCO, which is drawn",
    "Labelbox": "export the project as COCO, which is drawn, or save its masks as PNG named like their images",
    "Darwin": "export the data set once more as COCO, which is drawn",
    "Supervisely": "export the project once more with its app `Export as masks`, or fill the exterior points of each "
    "object with `cv2.fillPoly(mask, [points], number)` and save as PNG",
}
"""What to do with each kind."""


def recognise(*places: Path) -> str:
    """A sentence on annotations at `places` (files or folders) that are no masks, and what to do; "" without any."""
    for place in places:
        if not place.exists():
            continue
        files = walk(place, ENDINGS, GLANCE).files
        few = [path for ending in ENDINGS for path in files if path.suffix.lower() == ending][:20]
        for path in few:
            kind = kind_of(path)
            if kind:
                return f"{path} holds {kind} annotations, but {WANTED}; {CURES[kind]}"
    folders = [place for place in places if place.is_dir()]
    return next((told for place in folders if (told := _instances(place) or find_dicom(place))), "")


def kind_of(path: Path) -> str:
    """The kind of annotations in a file, a key of `CURES`; "" when it is none that is known."""
    try:
        with path.open("rb") as file:
            text = file.read(READ)
            size = path.stat().st_size
            if size > READ:
                file.seek(max(READ, size - READ))
                text += file.read(READ)
    except OSError:
        return ""
    said = text.decode("utf-8-sig", "replace")
    kind = {".json": _json, ".xml": _xml, ".csv": _table, ".tsv": _table}.get(path.suffix.lower(), _lines)(said)
    return _coco(path) if kind == "COCO" else kind


def _json(said: str) -> str:
    keys = set(re.findall(r'"([A-Za-z_]+)"\s*:', said))
    if "shapes" in keys and "imagePath" in keys:
        return "LabelMe"
    if len(keys & {"images", "annotations", "categories"}) >= 2 and keys & {"image_id", "file_name", "categories"}:
        return "COCO"
    if {"objects", "size"} <= keys and keys & {"classTitle", "tags"}:
        return "Supervisely"
    if {"result", "original_width"} <= keys:
        return "Label Studio"
    if {"data_row", "projects"} <= keys:
        return "Labelbox"
    if {"item", "annotations", "slots"} <= keys:
        return "Darwin"
    # of a large project of VIA 3 the regions ("av") lie between the parts that are read
    version3 = "vid_list" in keys and keys & {"av", "fid_list"}
    return "VIA" if {"regions", "shape_attributes"} <= keys or version3 else ""


def _coco(path: Path) -> str:
    """What a file of COCO's layout tells of its objects: outlines, boxes, or "" (captions, mere lists of images)."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b'"segmentation"') >= 0:
                return "COCO"
            if content.find(b'"segments_info"') >= 0:
                return "COCO panoptic"
            return "COCO box" if content.find(b'"bbox"') >= 0 else ""
    except OSError:  # a file system that maps no files: whoever reads it will say what is in it
        return "COCO"


def _xml(said: str) -> str:
    if re.search(r"<(polygon|mask|polyline|ellipse)\s", said) and "<annotations" in said:
        return "CVAT"
    if re.search(r"<box\s", said) and "<annotations" in said:
        return "CVAT box"
    if "<Annotations" in said and "<Vertex " in said:
        return "ImageScope"
    return "Pascal VOC box" if "<annotation" in said and "<bndbox" in said else ""


def _table(said: str) -> str:
    rows = csv.reader((line[:READ] for line in said.splitlines()[:2]), delimiter=separator(said))
    heads = heading(next(rows, []))
    if {"region_shape_attributes", "region_attributes"} <= set(heads):
        return "VIA"
    if "CSV_HEADER" in said and "spatial_coordinates" in said:
        return "VIA 3 table"
    runs = next((at for at, head in enumerate(heads) if head in RUNS), None)
    if runs is None or image_column(heads) is None:
        return ""
    row = next(rows, [])
    named = len(row) > runs and PurePath(row[runs].strip()).suffix.lower() in pictures()  # the file of a mask
    return "" if named else KAGGLE


def separator(text: str) -> str:
    """What stands between the cells of a table, by its first line."""
    return max(",;\t", key=text.partition("\n")[0].count)


def image_column(heads: Sequence[str]) -> int | None:
    """Which column of a table of run lengths holds the images: one that is headed so ("ImageId"), then one that may be
    ("id"), then the first of another name; pandas counts rows in one without a name. None where there is no such one.
    """
    named = [at for at, head in enumerate(heads) if HEADINGS.fullmatch(head) or head in JOINED]
    sure = [at for at in named if IMAGES.search(heads[at])]
    others = [at for at, head in enumerate(heads[:1]) if head and head not in RUNS and not head.startswith("unnamed")]
    return next(iter([*sure, *named, *others]), None)


def heading(cells: Sequence[str]) -> list[str]:
    """The headings of a table, as they are compared."""
    return [cell.strip().lstrip("#\ufeff").lower() for cell in cells]


def _lines(said: str) -> str:
    rows = [line.split() for line in said.splitlines()[:20] if line.strip()]
    number = re.compile(r"-?\d*\.?\d+([eE][-+]?\d+)?")
    if not rows or not all(number.fullmatch(cell) for row in rows for cell in row):
        return ""
    if any(float(row[0]) < 0 or not float(row[0]).is_integer() for row in rows):  # the class; pandas writes 1.0
        return ""
    if not all(-BEYOND <= float(cell) <= 1 + BEYOND for row in rows for cell in row[1:]):
        return ""
    boxes = [len(row) == 5 for row in rows]
    if all(boxes):
        return "YOLO box"
    return "YOLO polygon" if all(box or (len(row) >= 7 and len(row) % 2) for box, row in zip(boxes, rows)) else ""


def _instances(folder: Path) -> str:
    """The sentence for folders of several masks per image: n0/images/n0.png beside n0/masks/a.png, n0/masks/b.png."""
    number = Counter(path.parent for path in walk(folder, pictures(), GLANCE).files)
    several = [
        place
        for place, masks in number.items()
        if masks > 1
        and "mask" in place.name.lower()
        and any(number[place.parent / n] == 1 for n in ("images", "image"))
    ]
    if not several:
        return ""
    return (
        f"{several[0]} holds {number[several[0]]} masks, one per object, of a single image, but {WANTED}; "
        "`segkd prepare FOLDER --out DATA.yaml` joins them beside the data"
    )
