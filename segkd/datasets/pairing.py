"""Which image belongs to which mask: by the name that both share."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from segkd.datasets.annotations import recognise
from segkd.datasets.heads import SLICES, pages_of
from segkd.datasets.naming import Rule, find_rule_within, find_rules, matches, rivals, same_names
from segkd.datasets.packed import File
from segkd.datasets.patterns import Named, Pattern, find_named, is_pattern, only_theirs
from segkd.datasets.walk import ARRAYS, COMPANIONS, GLANCE, PACKED, pictures, stem_of, walk, what_is
from segkd.types import InputError, listed

LOSSLESS = frozenset({".png", ".gif", ".tif", ".tiff"})
"""Extensions (lower case) that masks rather than photos have."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask; `stem`, the name they share, identifies them."""

    stem: str
    image: File
    mask: File

    @property
    def paths(self) -> list[Path]:
        """Image and mask where they are files of their own; [] where they lie in a shard."""
        return [file for file in (self.image, self.mask) if isinstance(file, Path)]


@dataclass
class Paired:
    """What the folders or patterns `images` and `masks` below `root` hold.

    Attributes:
        pairs: what belongs together, sorted by stem.
        lone_images: images without a mask, by stem; `lone_masks` likewise.
        notes: what should be said: files passed over, names that differ in their letters' case.
    """

    root: Path
    images: str
    masks: str
    pairs: list[Pair]
    lone_images: dict[str, Path] = field(default_factory=dict)
    lone_masks: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def mask_files(self) -> list[Path]:
        """All masks that are files of their own, those without an image, too."""
        return [*(pair.mask for pair in self.pairs if isinstance(pair.mask, Path)), *self.lone_masks.values()]

    def refusal(self, stems: set[str], else_do: str = "") -> InputError:
        """The error that names `stems`, which are on one side only, and what to write or do; `else_do` is what helps
        where all are images and others have masks."""
        alone = [f"{self.lone_images[s]} has no mask in {self.masks}" for s in sorted(stems & self.lone_images.keys())]
        alone += [f"{self.lone_masks[s]} has no image in {self.images}" for s in sorted(stems & self.lone_masks.keys())]
        cure = self._proposal() or "Rename them, add the missing files, or move the others away"
        if self.pairs and stems <= self.lone_images.keys():
            cure += else_do
        return InputError(
            f"{len(stems)} of {len(self.pairs) + len(self.lone_images.keys() | self.lone_masks.keys())} stems are "
            f"unmatched; an image and its mask must have the same name up to the extension. {cure}:\n{listed(alone)}"
        )

    def _proposal(self) -> str:
        """What to write when a rule brings the two sides together; what to do when masks are no masks; or ""."""
        lone = (self.lone_images, self.lone_masks)
        rules = find_rules(*lone) if all(lone) else []
        if not rules or rules[0].matched <= len(self.pairs):  # settings that would lose more than they gain
            if self.pairs:
                return self._by_ending()
            return recognise(self.root / Pattern.of(self.masks).base, self.root / Pattern.of(self.images).base)
        written = propose(rules[0], (self.images, self.masks), tuple(Named(files) for files in lone))  # type: ignore[arg-type]
        others = [rule.words() for rule in rivals(rules, *lone)]
        return f"{written}; these would fit as well, so choose: {', '.join(others)}" if others else written

    def _by_ending(self) -> str:
        """The pattern that leaves out what is alone, where all that is paired has another extension; or ""."""
        images, masks = {pair.image.suffix for pair in self.pairs}, {pair.mask.suffix for pair in self.pairs}
        for what, text, lone, other, used in (
            ("images", self.images, self.lone_images, self.lone_masks, images),
            ("masks", self.masks, self.lone_masks, self.lone_images, masks),
        ):
            left_out = {path.suffix.lower() for path in lone.values()}
            if lone and not other and len(used) == 1 and not left_out & {ending.lower() for ending in used}:
                pattern = text if is_pattern(text) else f"{text}/{{}}"
                if pattern.endswith("{}"):
                    endings = " or ".join(sorted(left_out))
                    return f'No {endings} file of {text} is paired: write data.{what}: "{pattern}{min(used)}"'
        if self.lone_images and not self.lone_masks:
            return "Add the masks, or name the images that have one in a list file (data.train), which needs no others"
        return ""


def pair_files(root: Path, images: str, masks: str) -> Paired:
    """The files of `images` and `masks`, folders or patterns below `root`, matched by name.

    Raises:
        InputError: a folder is missing or empty, both are the same, or several files share a name.
    """
    _refuse_same(root, images, masks)
    left, right = named_files(root, images, "images"), named_files(root, masks, "masks")
    if left.doubles or right.doubles:  # the same names in several folders: train/images/1.png and val/images/1.png
        longer = named_files(root, images, "images", folders=True), named_files(root, masks, "masks", folders=True)
        if not any(named.doubles for named in longer) and longer[0].files.keys() & longer[1].files.keys():
            left, right = longer
    if Pattern.of(images).letters <= Pattern.of(masks).letters:
        only_theirs(left, right)
    else:
        only_theirs(right, left)
    doubles = [*left.doubles.values(), *right.doubles.values()]
    if doubles:
        instances = recognise(right.base, left.base) if right.doubles else ""
        raise InputError(f"{instances or 'several files share one name'}:\n{listed(doubles)}")
    for named, text, what in ((left, images, "images"), (right, masks, "masks")):
        if not named.files:
            raise _nothing(root, named, text, what)
    paired = Paired(root, images, masks, [], left.files, right.files)
    for named, what in ((left, "images"), (right, "masks")):
        if named.sentence:
            paired.notes.append(f"{what}: {named.sentence}")
    same, said = same_names(left.files, right.files, told=True)
    if said:
        paired.notes.append(f"images and masks: {said}")
    for stem in sorted(same):
        paired.pairs.append(Pair(stem, paired.lone_images.pop(stem), paired.lone_masks.pop(same[stem])))
    return paired


def propose(rule: Rule, texts: tuple[str, str], sides: tuple[Named, Named]) -> str:
    """The sentence that says which patterns to write, for images and masks that `rule` brings together."""
    patterns = [
        rule.pattern(Pattern.of(text).base, affix, named.ending())
        for text, affix, named in zip(texts, (rule.left, rule.right), sides)
    ]
    fewer = min(len(named.files) for named in sides)
    all_or_most = "every mask is" if rule.matched == fewer else f"{rule.matched} of {fewer} masks are"
    writes = f'data.masks: "{patterns[1]}"'
    if rule.left != ("", "") or not rule.folders:
        writes = f'data.images: "{patterns[0]}" and {writes}'
    return f"By their names {all_or_most} an image's ({rule.words()}): write {writes} ({{}} is the shared name)"


def _refuse_same(root: Path, images: str, masks: str) -> None:
    if Pattern.of(images) != Pattern.of(masks) and (root / images).resolve() != (root / masks).resolve():
        return
    both = f"both {images}" if Pattern.of(images) == Pattern.of(masks) else f"one folder ({images}, {masks})"
    message = f"data.images and data.masks are {both}, so that every image would be its own mask. "
    base = root / Pattern.of(images).base
    proposal = (_within(root, base) or _endings(root, base) or recognise(base)) if base.is_dir() else ""
    if not proposal:
        example = f"{Pattern.of(images).base}/".removeprefix("./").lstrip("/")
        proposal = (
            f'When both lie in one folder, write data.images: "{example}{{}}.jpg" and data.masks: '
            f'"{example}{{}}_mask.png", where {{}} is the name that an image and its mask share'
        )
    raise InputError(f"{message}{proposal}.")


def _within(root: Path, folder: Path) -> str:
    """The sentence on patterns for a folder that holds images and masks together, or ""."""
    files = {stem_of(path, folder): path for path in walk(folder, most=GLANCE).files}
    rule = find_rule_within(files.keys())
    if rule is None:
        return ""
    pairs = matches(rule, files.keys(), files.keys())
    sides = Named({name: files[name] for name in pairs.values()}), Named({name: files[name] for name in pairs})
    place = folder.relative_to(root).as_posix() if folder.is_relative_to(root) else str(folder)
    writes = [
        f'data.{what}: "{rule.pattern(place, affix, side.ending())}"'
        for what, affix, side in zip(("images", "masks"), (rule.left, rule.right), sides)
    ]
    return f"{folder} holds {rule.matched} images with their masks ({rule.words()}): write {' and '.join(writes)}"


def _endings(root: Path, folder: Path) -> str:
    """The sentence on patterns for a folder where an image and its mask differ in their extensions alone, or ""."""
    stems: dict[str, set[str]] = {}
    for path in walk(folder, most=GLANCE).files:
        stems.setdefault(path.suffix, set()).add(stem_of(path, folder))
    both = [(a, b) for a in stems for b in stems if a != b and stems[a] == stems[b]]
    if len(both) != 2 or not folder.is_relative_to(root):  # two: each way round
        return ""
    place = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    one, other = sorted(both[0], key=lambda ending: ending.lower() in LOSSLESS)
    return (
        f'{folder} holds {len(stems[one])} files as {one} and as {other}: write data.images: "{place}{{}}{one}" and '
        f'data.masks: "{place}{{}}{other}", or the other way round'
    )


def _one_file(path: Path) -> str:
    """What to do where a file is given in place of a folder of images or masks."""
    pages = pages_of(path)
    if pages > 1:
        return f"It holds {pages} pages. {SLICES}, and give their folder"
    if path.suffix.lower() in COMPANIONS:
        return "Lists of names are for data.train, data.val and data.test; give the folder that the pictures lie in"
    if path.suffix.lower() in PACKED:
        return "Unpack it, and give the folder that the pictures lie in then"
    return "Give the folder that the file lies in, or a pattern"


def named_files(root: Path, text: str, what: str, folders: bool = False) -> Named:
    """The files that the setting `data.{what}`, a folder or a pattern `text` below `root`, means, as `find_named`;
    `what` is images, masks or unlabelled.

    Raises:
        InputError: there is no such folder, said with where the pictures below `root` lie; or the pattern says no name.
    """
    base = root / Pattern.of(text).base
    if (root / text).is_file():
        told = recognise(root / text) or _one_file(root / text)
        raise InputError(f"data.{what}: {root / text}: expected a folder or a pattern, found a file. {told}.")
    if not base.is_dir():
        whose = what if what in ("images", "masks") else f"data.{what}"
        raise InputError(
            f"{base}: expected the folder of {whose}, found {what_is(base)} there. Set data.root to the folder that "
            f"holds it, or data.{what} to its name (or a pattern) below data.root. {_there_is(root)}".rstrip()
        )
    return find_named(root, text, f"data.{what}", pictures() | ARRAYS if what == "masks" else None, folders)


def _there_is(root: Path) -> str:
    """A sentence on what lies below `root`, for someone who named the wrong folders."""
    told = _within(root, root)
    if told:
        return told + "."
    folders = Counter(path.parent.relative_to(root).as_posix() for path in walk(root, most=GLANCE).files)
    most = ", ".join(f"{name} ({number})" for name, number in sorted(folders.most_common(6)))
    sentences = [f"The pictures there lie in: {most}" if most else "", recognise(root)]
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def _nothing(root: Path, named: Named, text: str, what: str) -> InputError:
    """The error for a folder or a pattern that holds no picture."""
    told = recognise(named.base)
    said = f" ({named.sentence})" if named.sentence else ""
    if is_pattern(text) and (there := walk(named.base, most=GLANCE).files):
        first = (there[0].relative_to(root) if there[0].is_relative_to(root) else there[0]).as_posix()
        return InputError(
            f"data.{what}: {text}: expected files like this pattern below {root}, found none; a file there is {first}. "
            "{} stands for the shared name, * for any text within a name, **/ for any folders."
        )
    return InputError(
        f"{named.base}: expected image files (.jpg .png .tif ...), found none{said}. "
        f"{told or f'Is data.{what} the right folder?'}"
    )
