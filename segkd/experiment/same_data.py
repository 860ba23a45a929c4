"""A run goes on with the data that it began with."""

from collections.abc import Mapping
from pathlib import Path

from segkd.datasets.data import Records
from segkd.datasets.digest import Digests, differences, digest_of_all, reordered
from segkd.disk import dump_json, read_json, write_whole
from segkd.types import InputError

FILE = "data.json"
"""In a run folder: a digest of every image and mask of the splits it trains and validates on."""


def digests_of(records: Mapping[str, Records]) -> Digests:
    """The digests of all files; without those of generated images, which the configuration tells."""
    return {name: dict(zip(one.ids, one.digests)) for name, one in records.items()}


def keep_digests(folder: Path, digests: Digests) -> None:
    """Writes them into the run folder."""
    write_whole(folder / FILE, dump_json(digests, indent=None))


def kept_digests(folder: Path) -> Digests:
    """What the run folder says that they were; {} where that is lost or damaged."""
    try:
        return read_json(folder / FILE, Digests, "the digests of a run's data")
    except InputError:
        return {}


def refuse_changes(folder: Path, now: Digests, promised: str | None, agreed: bool) -> list[str]:
    """Compares the data with those that the run was trained on.

    Args:
        folder: the run folder.
        now: the digests of today's files.
        promised: the digest of all that the checkpoint holds; None in a run of an older version.
        agreed: the user knows that they changed.

    Returns:
        sentences to say.

    Raises:
        InputError: they changed, and the user did not say so.
    """
    if promised is None:
        return []
    then = kept_digests(folder)
    same = promised == digest_of_all(now)
    changed = (reordered if same else differences)(then, now) if then else []
    if same and not changed:
        return []
    what = "; ".join(changed) or "which files, nobody can tell any more"
    if not agreed:
        raise InputError(
            f"--resume {folder}: the data are not those that this run was trained on: {what}. Bring the files back, or "
            "start a new run with --out. To go on with the data as they are now, though scores so far and from now on "
            f"cannot be compared: segkd train --resume {folder} --data-changed"
        )
    return [f"going on with other data than before: {what}. Scores before and after cannot be compared."]
