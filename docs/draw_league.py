"""Writes the tables of the league's pages and of the README from the files of cells: `python -m docs.draw_league`.

A table stands between `<!-- NAME -->` and `<!-- end -->`, its NAME a key of `TABLES`; what stands there is replaced. A
test holds the page to it.
"""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.league_tables import (
    RESULTS,
    SCORES,
    SETS,
    across,
    beside,
    by_class,
    cells,
    classes,
    corrupted,
    corrupted_rows,
    gain_of,
    gains,
    means,
    pairs,
    points,
    readings,
    splits,
    summary,
)
from segkd.ablation.statistics import compare
from segkd.ablation.tables import dataset_table

PAGES = (
    *(RESULTS / f"{name}.md" for name in ("league", "league_search", "few_labels")),
    Path(__file__).parents[1] / "README.md",
)
MAIN = ("segkd", "baseline", "frskd", "fading", "deep_supervision", "label_smoothing", "cutmix", "mean_teacher")
BESIDE = (
    ("virtual", "strong", "levels", "structure", "strong_structure", "ce_2", "frskd"),
    ("ce_0.3", "ce_0.1", "iou_3", "structure_iou", "virtual_0.3", "fading_antialiased", "deep_supervision_light",
     "levels_light", "clean_view_light", "frequency_random_light"),
)  # fmt: skip
"""What the search tried beside a whole cross-entropy, and beside three tenths of it or less."""
LAST = {
    "cross_fit_light": "taught by networks that never saw the image, so that they know what is hard",
    "in_fold_light": "its control: finished baselines that saw it",
    "guided_light": "a teacher that sees half of the label's patches",
    "narrowing_light": "labels low-passed early, exact at the end",
    "patch_swap_light": "patches of one class come from another image, and must be predicted as there",
    "swap_patches_light": "its control: the patches alone",
}
"""The last ideas of the search, and why they could help."""

BOTH, ALONE = "self_training_regions", "self_training_regions_labelled"
FIVE = "few_baseline few_regions few_sets_baseline few_sets_regions"
VERSUS = "few_regions few_sets_regions few_frskd"
HEADLINE = (
    ("mIoU, five object sets, 128 px", ("cells", "cells"), "segkd", "test", "miou_image"),
    ("F-beta, the same", ("cells", "cells"), "segkd", "test", "f_mean"),
    ("mIoU, four of them at 224 px", ("league_224", "league_224"), "segkd", "test", "miou_image"),
    (
        "mIoU, CamVid (11 classes), 990 steps",
        ("camvid_again camvid_again_frskd", "camvid_again"),
        "segkd",
        "test",
        "miou_dataset",
    ),
    ("mIoU, five sets damaged, frequency stage", ("corruptions_league",) * 2, "segkd_frequency", "mean", "miou_image"),
    ("mIoU, five sets, a tenth of the labels, self-training", (VERSUS, FIVE), BOTH, "test", "miou_image"),
    ("F-beta, the same", (VERSUS, FIVE), BOTH, "test", "f_mean"),
    ("mIoU, the same, images damaged", ("corruptions_few_test",) * 2, BOTH, "mean", "miou_image"),
)
"""What is said, where its rows over FRSKD and over the baseline are, of which arm, split and score."""


def main() -> None:
    """Rewrites the pages."""
    for page in PAGES:
        page.write_text(drawn(page.read_text(encoding="utf-8")), encoding="utf-8")


def drawn(page: str) -> str:
    """The text of a page with every table made anew."""
    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", _replaced, page, flags=re.DOTALL)


def _replaced(match: re.Match[str]) -> str:
    head, *body = TABLES[match[1]]()
    lines = [f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body]]
    return "\n".join([f"<!-- {match[1]} -->", *lines, "<!-- end -->"])


def headline() -> list[list[str]]:
    """What ours, or the whole method, gains over FRSKD and over the baseline on test, in points; bold where p < .05."""
    lines = []
    for what, files, arm, split, score in HEADLINE:
        line = [what]
        for baseline, name in zip(("frskd", "baseline"), files):
            rows = corrupted_rows(name) if split == "mean" else cells(name)
            gain = gain_of(rows, split, score, baseline, arm)
            assert gain is not None
            bold = "**" if gain.p_holm < 0.05 else ""
            line.append(f"{bold}{points(gain, 2)}{bold} ({len(gain.units)})")
        lines.append(line)
    return [["points on test (pairs)", "over FRSKD", "over the plain baseline"], *lines]


def last() -> list[list[str]]:
    """The gains of the last ideas, with the reason of each and its time."""
    table = gains("search_last", tuple(LAST), ["ce_0.3"], "val", p=False)
    rows = cells("search_last")
    times = dataset_table(rows, compare(rows, "val", "miou_image", "ce_0.3"))
    time = {line[0].text: line[-1].text for line in times.body}
    head = ["arm", "why it could help", "pairs", *SCORES, "time"]
    sources = {"cross_fit_light": " + its folds", "in_fold_light": " + two baselines"}
    return [head, *([arm, LAST[arm], *rest, time[arm] + sources.get(arm, "")] for arm, *rest in table[1:])]


BY_PAIR = {
    "start": ("start", "start", "baseline"),
    "crops": ("crops", "image", "output"),
    "scratch": ("scratch", "segkd", "baseline"),
    "larger": ("larger", "larger", "baseline"),
    "ten": ("ten_percent", "frequency_random", "baseline"),
}
"""File, arm and baseline whose pairs are told one by one, on val and on test: tables NAME_val and NAME_test."""
OF_CAMVID = {"new_seeds": "camvid_new_seeds", "again": "camvid_again", "long": "camvid_long"}
"""The same of ours on CamVid, on test, by its sum of all pixels and by image."""

FEW = {
    "same_teacher": (
        "its own finished network, two sets (H11)",
        "unlabelled_baseline unlabelled_same",
        BOTH,
        "baseline",
    ),
    "again_few": ("the same, another machine", "few_baseline few_regions", BOTH, "baseline"),
    "other_sets": ("the same, three other sets (H13)", "few_sets_baseline few_sets_regions", BOTH, "baseline"),
    "five_sets": ("all five sets (H12 and H13, second machine)", FIVE, BOTH, "baseline"),
    "control": ("that teacher without the other images", "few_baseline few_labelled", ALONE, "baseline"),
    "over_control": ("with them over without them (H12)", "few_labelled few_regions", BOTH, ALONE),
    "longer": ("a plain baseline of three times the steps", "few_baseline few_longer", "longer", "baseline"),
    "over_longer": ("with them over that", "few_longer few_regions", BOTH, "longer"),
    "third": (
        "a third of the labels (H15, not all of its ten pairs)",
        "third_baseline third_regions",
        BOTH,
        "baseline",
    ),
    "again_round": (
        "a second round over the first, four sets (H16)",
        "few_regions few_sets_regions few_again",
        "self_training_again",
        BOTH,
    ),
    "over_frskd": ("with them over FRSKD, five sets (H14)", VERSUS, BOTH, "frskd"),
    "larger_teacher": (
        "a teacher trained at 224 px, two sets (H10)",
        "unlabelled_baseline unlabelled_larger",
        "self_training_large",
        "baseline",
    ),
}
"""What was asked of few labels: in words, files, arm and what it is compared with, on test."""

WHY = ("miou_image", "f_mean", "s_measure", "f_weighted", "boundary_iou", "ece")
LOOKS = (("on test", FIVE, "test"), ("on the images that the teacher labelled", "few_others", "train"))
"""What tells why self-training helps: other scores, and the other images themselves."""

TABLES: dict[str, Callable[[], list[list[str]]]] = {
    "headline": headline,
    "search": partial(pairs, "search", "ce_0.3", "baseline", "val"),
    "beside_whole": partial(beside, BESIDE[0], ("camo", "cvc_clinicdb", "sd_saliency_900")),
    "beside_light": partial(beside, BESIDE[1], ("camo", "cvc_clinicdb", "sd_saliency_900")),
    "last": last,
    "means": partial(means, "cells", MAIN, SETS[:5]),
    "gains": partial(gains, "cells", (*MAIN, "frskd_cross_entropy"), ["frskd", "baseline"]),
    "gains_ours": partial(gains, "cells", ("baseline", *MAIN[2:]), ["segkd"]),
    "camvid": partial(classes, "camvid_arms", "miou_dataset", MAIN, ["baseline", "frskd"]),
    "camvid_classes": partial(by_class, "camvid_classes", "segkd", "baseline"),
    "again_classes": partial(by_class, "camvid_again_classes", "segkd", "baseline"),
    "means_224": partial(means, "league_224", MAIN[:3], (*SETS[:3], "horses")),
    "gains_224": partial(gains, "league_224", MAIN[:3], ["frskd", "baseline"]),
    "means_64": partial(means, "league_64", MAIN[:2], SETS[:5]),
    "gains_64": partial(gains, "league_64", MAIN[:1], ["baseline"]),
    "whole": partial(corrupted, "corruptions_league", "segkd_frequency", ["frskd", "baseline"]),
    "recipes": partial(readings, "recipes", "baseline"),
    "cross_fit": partial(splits, "cross_fit", "cross_fit", ["baseline", "frskd"]),
    **{f"{name}_{part}": partial(pairs, *which, part) for name, which in BY_PAIR.items() for part in ("val", "test")},
    **{name: partial(pairs, file, "segkd", "baseline", "test", ("miou_dataset", "miou_image"))
       for name, file in OF_CAMVID.items()},
    "poles": partial(pairs, "poles", "segkd", "baseline", "test", ("miou_dataset", "f_max")),
    "ten_start": partial(readings, "ten_percent_start", "baseline"),
    "unlabelled": partial(readings, "unlabelled unlabelled_baseline unlabelled_larger unlabelled_same", "baseline"),
    "few": partial(summary, FEW.values()),
    "screen_few": partial(readings, "few_screen", BOTH),
    "damaged_val": partial(corrupted, "corruptions_few_val", BOTH, ["baseline"]),
    "damaged_test": partial(corrupted, "corruptions_few_test", BOTH, ["baseline", "frskd"]),
    **{f"stage_{part}": partial(corrupted, f"corruptions_few_stage_{part}", "self_training_stage", ["baseline", BOTH])
       for part in ("val", "test")},
    "why_few": partial(across, WHY, LOOKS, BOTH, "baseline"),
    **{name: partial(pairs, *what, "test") for name, (_, *what) in FEW.items() if name not in ("five_sets", "longer")},
    "scale": partial(readings, "scale", "from_0.4"),
    "image_baseline": partial(pairs, "image", "segkd", "baseline", "test"),
    "image_frskd": partial(pairs, "image", "segkd", "frskd", "test"),
    "image": partial(splits, "image", "segkd", ["baseline", "frskd"]),
}  # fmt: skip
"""Name -> lines of cells, the titles first."""


if __name__ == "__main__":
    main()
