"""A data layer in the making: where it is written, its settings, and why each is as it is."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from segkd.datasets.data import Data
from segkd.datasets.patterns import Pattern, find_named, is_pattern
from segkd.datasets.walk import MADE, PACKED, what_is
from segkd.disk import write_whole
from segkd.types import InputError, LayerPath, some


@dataclass
class Draft:
    """The layer `path`, the folder `beside` it for what is made, and the settings of `data`.

    `root` is the data set's folder, or with `source` "parquet" that of its shards.
    """

    path: Path
    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    source: str = "root"

    @property
    def beside(self) -> Path:
        """The folder for masks and lists that are made: next to the layer, DATA.prepared for DATA.yaml."""
        return self.path.with_suffix(MADE)

    def take(self, name: str, value: Any) -> None:
        """One setting."""
        self.settings[name] = value

    def into_shards(self, folder: Path) -> None:
        """From here on the data are Parquet shards: their folder stands for the root, the patterns and the lists."""
        for name in ("images", "masks", "train", "val", "test"):
            self.settings.pop(name, None)
        self.source, self.root = "parquet", folder

    def data(self) -> Data:
        """The settings as `Data`."""
        place: dict[str, Any] = {self.source: LayerPath(str(self.root))}
        return Data(**{**place, **self.settings, **self._paths(absolute=True)})

    def write(self, head: str, path: Path | None = None) -> None:
        """Writes the layer (to `path`, beside it, when given).

        Paths inside its folder are relative to it, so that both can be moved together.
        """
        settings = {self.source: self._root(), **self.settings, **self._paths(absolute=False)}
        lines = [f"# {head}", "data:"]
        for name, value in settings.items():
            plain = list(value) if isinstance(value, tuple) else value
            text = yaml.safe_dump(plain, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
            text = text.removesuffix("\n").removesuffix("...").strip()
            lines.append(f"  {name}: {text}".replace("\n", " "))
        write_whole(path or self.path, "\n".join(lines) + "\n")

    def _root(self) -> str:
        home, root = self.path.parent.resolve(), self.root.resolve()
        return os.path.relpath(root, home) if root.is_relative_to(home) else str(root)

    def _paths(self, absolute: bool) -> dict[str, str]:
        """The settings that are paths of what was made (`Path`), as text below the root."""
        made = {name: value for name, value in self.settings.items() if isinstance(value, Path)}
        if absolute or Path(self._root()).is_absolute():
            return {name: str(path.absolute()) for name, path in made.items()}
        return {name: os.path.relpath(path.resolve(), self.root.resolve()) for name, path in made.items()}


def names_of(draft: Draft, images: Sequence[Path]) -> dict[Path, str]:
    """The name that `data.images` gives to each image: what a mask must be called that is made for it.

    Of images in train/images and val/images, the setting becomes `**/images/{}`, which finds them from the root.

    Raises:
        InputError: the name is that of another picture, too: 1.jpg and 1.png.
    """
    text = draft.settings["images"]
    if not (draft.root / Pattern.of(text).base).is_dir():
        text = text if is_pattern(text) else f"{text}/{{}}"
        draft.take("images", text := f"**/{text}")
    named = find_named(draft.root, text, "images")
    if named.doubles:
        named = find_named(draft.root, text, "images", folders=True)
    wanted = {path.absolute(): path for path in images}
    found = ((wanted.get(path.absolute()), name) for name, path in named.files.items())
    names = {path: name for path, name in found if path is not None}
    lost = [str(path) for path in images if path not in names]
    if lost:
        raise InputError(
            f"{named.base}: expected a name of its own for each image, as masks are made for them, found other files "
            f"with the names of {some(lost)}. Rename one of each two, or move it away."
        )
    return names


def new_draft(source: Path, out: Path) -> Draft:
    """The draft of `out` for the folder `source`.

    Raises:
        InputError: there is no such folder, or `out` is no new YAML file.
    """
    if not source.is_dir():
        raise InputError(f"{source}: expected the folder of a data set, found {what_is(source)} there.{_cure(source)}")
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"--out {out}: expected the YAML file to write, such as data.yaml.")
    draft = Draft(out, source)
    for path in (out, draft.beside):
        if path.exists():
            raise InputError(f"--out {out}: {path} exists already. Give another name, or move it away.")
    return draft


@contextmanager
def removed_on_error(draft: Draft) -> Iterator[None]:
    """Takes back the layer and what was made beside it where a command fails, so that the corrected one can begin.

    Neither was there before: `new_draft` sees to it.
    """
    try:
        yield
    except BaseException:  # Ctrl-C as well
        shutil.rmtree(draft.beside, ignore_errors=True)
        draft.path.unlink(missing_ok=True)
        raise


def _cure(source: Path) -> str:
    """What to do about a data set that is no folder."""
    if not source.is_file():
        return " Correct the path."
    if source.suffix.lower() in PACKED:
        return " Unpack it, and give the folder that comes out."
    return " Give the folder that it lies in; a file of annotations is named by --annotations."
