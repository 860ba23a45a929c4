"""A data layer in the making: where it is written, its settings, and why each is as it is."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from segkd.datasets.data import Data
from segkd.datasets.patterns import Pattern, find_named, is_pattern
from segkd.disk import write_whole
from segkd.types import InputError, LayerPath


@dataclass
class Draft:
    """The layer `path`, the folder `beside` it for what is made, and the settings of `data` with a comment on each.

    `root` is the data set's folder, or with `source` "parquet" that of its shards.
    """

    path: Path
    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    source: str = "root"

    @property
    def beside(self) -> Path:
        """The folder for masks and lists that are made: next to the layer, DATA.prepared for DATA.yaml."""
        return self.path.with_suffix(".prepared")

    def take(self, name: str, value: Any, why: str = "") -> None:
        """One setting, and why it is so."""
        self.settings[name] = value
        self.why[name] = why

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
            why = f"  # {self.why[name]}" if self.why.get(name) else ""
            lines.append(f"  {name}: {text}{why}".replace("\n", " "))
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
    """
    text = draft.settings["images"]
    if not (draft.root / Pattern.of(text).base).is_dir():
        text = text if is_pattern(text) else f"{text}/{{}}"
        draft.take("images", text := f"**/{text}")
    named = find_named(draft.root, text, "images")
    if named.doubles:
        named = find_named(draft.root, text, "images", folders=True)
    wanted = set(images)
    return {path: name for name, path in named.files.items() if path in wanted}


def new_draft(source: Path, out: Path) -> Draft:
    """The draft of `out` for the folder `source`.

    Raises:
        InputError: there is no such folder, or `out` is no new YAML file.
    """
    if not source.is_dir():
        raise InputError(f"{source}: expected the folder of a data set, found none there.")
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(f"--out {out}: expected the YAML file to write, such as data.yaml.")
    draft = Draft(out, source)
    for path in (out, draft.beside):
        if path.exists():
            raise InputError(f"--out {out}: {path} exists already. Give another name, or move it away.")
    return draft
