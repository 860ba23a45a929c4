"""What lies in a folder beside the images and masks that were found, and is used for nothing: that is said."""

import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from segkd.datasets.annotations import ENDINGS, KAGGLE, kind_of
from segkd.datasets.pairing import Pair, Paired
from segkd.datasets.prepare.annotated import READERS, YOLO
from segkd.datasets.prepare.kaggle import is_submission
from segkd.datasets.prepare.named import NNUNET
from segkd.datasets.walk import GLANCE, pictures, walk
from segkd.disk import read_json
from segkd.types import InputError, some

FOLDERS = 6
"""Folders that are named."""

EMPTY = {
    KAGGLE: ("are in no row, and left out", "add a row with the name and an empty cell"),
    YOLO: ("have no text, and are left out", "put an empty text beside the others"),
}
"""Kind of annotations -> what pictures lack that they pass over, and what says that these hold no object."""

LOOKED_AT = 60
"""Files that may hold annotations and are looked at."""


def passed_over(root: Path, paired: Paired, further: Sequence[Pair], own: Path) -> Iterator[str]:
    """A sentence on the pictures below `root` that are in no pair, and one on annotations there.

    Those without a partner are told elsewhere; what lies in `own`, which `segkd prepare` writes, is none of them.
    """
    used = {path for pair in [*paired.pairs, *further] for path in pair.paths}
    used |= {*paired.lone_images.values(), *paired.lone_masks.values()}
    left = [path for path in walk(root, pictures()).files if path not in used and not path.is_relative_to(own)]
    homes = Counter(path.parent.relative_to(root).as_posix() for path in left)
    if homes:
        places = {"the folder itself" if home == "." else home: number for home, number in homes.most_common(FOLDERS)}
        named = ", ".join(f"{number} in {place}" for place, number in places.items())
        more = f", and more in {len(homes) - FOLDERS} other folders" if len(homes) > FOLDERS else ""
        cure = "say --images and --masks; data.unlabelled trains on photos that have no mask"
        yield f"pictures that are used for nothing: {named}{more}; if they are needed, {cure}"
        if told := channels_apart(root):
            yield told
    for path in walk(root, ENDINGS, GLANCE).files[:LOOKED_AT]:
        kind = kind_of(path)
        if kind in READERS and not is_submission(path) and not path.is_relative_to(own):
            yield f"{path} holds {kind} annotations, which are not used: to draw those, say --annotations {path}"
            return


def left_out(images: Collection[Path], kind: str) -> str:
    """The sentence on pictures beside `images` that annotations of a kind do not name, where those of pictures without
    an object may be missing by custom; or ""."""
    homes = {image.parent for image in images}
    beside = {path for home in homes for path in home.iterdir() if path.suffix.lower() in pictures()}
    left = sorted(path.name for path in beside - set(images))
    if not left or kind not in EMPTY:
        return ""
    lack, cure = EMPTY[kind]
    return f"{len(left)} images beside them {lack} ({some(left)}): if they hold no object, {cure} for each"


def channels_apart(root: Path) -> str:
    """The sentence on images of nnU-Net whose channels lie in several files, "" where one holds them, or the image is
    grey."""
    for path in walk(root, {".json"}, GLANCE).files:
        if path.name != NNUNET:
            continue
        with suppress(InputError):
            content: dict[str, Any] = read_json(path, dict[str, Any], "the settings of a data set")
            names = content.get("channel_names") or content.get("modality")
            seconds = (one for one in walk(path.parent, pictures()).files if one.stem.endswith("_0001"))
            second = next(seconds, None)
            if not isinstance(names, dict) or len(names) < 2 or second is None:
                continue
            base = second.stem.removesuffix("_0001")
            files = [f"{base}_{channel:04d}{second.suffix}" for channel in range(len(names))]
            one = f"{second.parent.relative_to(root).as_posix()}/{{}}_0000"
            return (
                f"{path}: the channels of an image are files of their own ({some(files)}), and one picture is read: "
                f"join them (three as RGB), or say which is meant, such as --images {shlex.quote(one)} with --masks"
            )
    return ""
