import io
import math
import re
from dataclasses import replace

import pytest
from rich.console import Console

from segkd.ablation.statistics import compare
from segkd.ablation.tables import (
    arm_table,
    dataset_table,
    escape_latex,
    summary,
    to_latex,
    to_markdown,
    to_rich,
    verdict,
)
from tests.ablation.test_statistics import make_rows, random_values

HOSTILE = r"[a_b] 50% & #1 {x}^2 ~ $y$ \ <c> | *d* --e"


def steady(gains, seeds=6, sets=1, base=0.5):
    """Rows of an arm "base" and of others that are better by about `gains` on every unit."""
    units = [(f"set{i}", seed) for i in range(sets) for seed in range(seeds)]
    values = {"base": {unit: base + 0.01 * seed for seed, unit in enumerate(units)}}
    for arm, gain in gains.items():
        values[arm] = {unit: values["base"][unit] + gain + 0.0001 * i for i, unit in enumerate(units)}
    return values


def said(values, arm="arm", score="f_mean"):
    comparison = compare(make_rows(values, score=score), "test", score, "base")
    return verdict(next(a for a in comparison.arms if a.name == arm), comparison)


def table_of(values, scores=("f_mean",)):
    rows = make_rows(values)
    return arm_table(rows, [compare(rows, "test", score, "base") for score in scores])


def markdown_rows(text):
    """The cells of a Markdown table: header, then rows; the line under the header is left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert set(lines[1]) <= set("|-:")
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (lines[0], *lines[2:])]


def latex_rows(text):
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0]
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in body.strip().split("\n")
    ]


# the verdict


@pytest.mark.parametrize("gain", [0.2, -0.2])
@pytest.mark.parametrize("sets", [1, 3, 9])
def test_one_seed_is_a_reading_on_however_many_data_sets_and_however_clear(gain, sets):
    text = said(steady({"arm": gain}, seeds=1, sets=sets))
    assert text.startswith("arm: one seed: a reading, no result (gain")
    assert "better" not in text and "worse" not in text
    assert f"over {sets} pair{'s' if sets > 1 else ''})" in text


def test_a_clear_gain_over_enough_pairs_is_better_and_a_clear_loss_is_worse():
    assert re.fullmatch(
        r"arm: gain \+0\.020\d \[\+0\.020\d, \+0\.020\d\] over 6 pairs \(6 above 0\), p = 0\.0312 after Holm: better\.",
        said(steady({"arm": 0.02})),
    )
    assert said(steady({"arm": -0.02})).endswith("over 6 pairs (0 above 0), p = 0.0312 after Holm: worse.")
    assert said(steady({"arm": -0.02}), score="mae").endswith("p = 0.0312 after Holm: better.")


def test_with_few_pairs_it_says_that_the_test_cannot_reach_significance():
    text = said(steady({"arm": 0.02}, seeds=5))
    assert "the interval lies above 0, but with so few pairs p cannot fall below 0.0625" in text
    assert text.endswith("the test cannot reach 0.05: a hint, no result.")
    two = said(steady({"arm": 0.02}, seeds=2))
    assert "too few pairs for an interval, but with so few pairs p cannot fall below 0.5000" in two
    assert two.endswith("open.")
    # six pairs suffice for one arm, not for two: Holm doubles the smallest p
    assert "p cannot fall below 0.0625" in said(steady({"arm": 0.02, "other": 0.03}))


def test_an_interval_that_holds_0_is_no_difference():
    values = steady({"arm": 0.0}, seeds=8)
    values["arm"] = {unit: values["base"][unit] + 0.01 * (-1) ** i for i, unit in enumerate(values["base"])}
    text = said(values)
    assert text.endswith("p = 1.0000 after Holm: the interval holds 0, no difference shown.")
    assert "better" not in text


def test_an_interval_beside_0_that_the_test_does_not_confirm_is_a_hint():
    values = steady({"arm": 0.0}, seeds=7)
    gains = [0.01, 0.012, 0.009, 0.011, -0.003, 0.01, -0.001]
    values["arm"] = {unit: values["base"][unit] + gain for unit, gain in zip(values["base"], gains)}
    values["other"] = dict(values["arm"])
    assert said(values).endswith("the interval lies above 0, but the test does not confirm it: a hint, no result.")


def test_the_verdict_names_what_is_missing_or_undefined():
    values = steady({"arm": 0.02, "late": 0.01})
    del values["arm"]["set0", 4]
    values["arm"]["set0", 2] = math.nan
    assert said(values).endswith("; no row for set0 seed 4; no f_mean for set0 seed 2.")
    values["other"] = {unit: 0.6 for unit in values["base"] if unit[1] in (1, 4)}
    assert said(values, "other").endswith("no row for set0 seeds 0, 2, 3 and 5.")
    values["late"] = {("set9", 0): 0.7}
    assert said(values, "late") == (
        "late: no pair with the baseline, nothing to compare; no row for set0 seeds 0 to 5."
    )
    assert said(values, "base") == "base: the baseline; no row for set9 seed 0."


# the sentence above


def test_the_summary_tells_split_sets_seeds_baseline_and_an_equal_budget():
    rows = make_rows(random_values(2, 2, 3))
    assert summary(rows, "test", "a") == (
        "Split test, 2 data sets (set0, set1), 3 seeds (0, 1, 2); baseline a; "
        "budget of a training 2000 steps and 32000 images, equal for all arms."
    )
    by_set = [replace(row, steps=500) if row.dataset == "set0" else row for row in rows]
    assert "budget of a training 500 to 2000 steps and 32000 images, equal for all arms" in summary(by_set, "test", "a")


def test_the_summary_says_when_an_arm_had_more_steps_or_images():
    rows = make_rows(random_values(2, 1, 1))
    for change in ({"steps": 2001}, {"images": 32008}):
        unequal = [replace(row, **change) if row.arm == "b" else row for row in rows]
        text = summary(unequal, "test", "a")
        assert "1 data set (set0), 1 seed (0)" in text and "equal for all" not in text
        b = {"steps": 2000, "images": 32000, **change}
        assert "BUDGETS DIFFER: a 2000 steps and 32000 images" in text
        assert f"b {b['steps']} steps and {b['images']} images" in text


# the tables


def test_markdown_holds_the_numbers_of_the_comparison():
    rows = make_rows(random_values(3, 2, 3, 0.01))
    comparison = compare(rows, "test", "f_mean", "a")
    text = to_markdown(arm_table(rows, [comparison]))
    header, *body = markdown_rows(text)
    assert header == ["arm", "f_mean mean ± sd ↑", r"f_mean gain \[95 %\]", "f_mean p (Holm)", "f_mean pairs"]
    assert [line[0] for line in body] == ["a", "b", "c"]
    assert body[0][2:] == ["baseline", "", ""]
    for line, arm in zip(body, comparison.arms):
        mean, sd = (float(figure) for figure in line[1].strip("*").split(" ± "))
        assert (mean, sd) == (pytest.approx(arm.mean, abs=6e-5), pytest.approx(arm.sd, abs=6e-5))
    for line, arm in zip(body[1:], comparison.arms[1:]):
        assert line[2] == rf"{arm.gain.mean:+.4f} \[{arm.gain.interval[0]:+.4f}, {arm.gain.interval[1]:+.4f}\]"
        assert line[3:] == [f"{arm.gain.p_holm:.4f}", "6"]
    assert text.startswith("Split test, 2 data sets")
    assert text.count("\n- ") == 2, "a verdict for each arm but the baseline"


def test_only_the_best_mean_is_bold_and_for_mae_that_is_the_lowest():
    values = steady({"worst": -0.03, "best": 0.03, "middle": 0.01})
    bold = [line[0] for line in markdown_rows(to_markdown(table_of(values))) if line[1].startswith("**")]
    assert bold == ["best"]
    rows = make_rows(values, score="mae")
    text = to_latex(arm_table(rows, [compare(rows, "test", "mae", "base")]), "tab:mae")
    assert [line[0] for line in latex_rows(text) if line[1].startswith(r"\textbf{")] == ["worst"]


def test_equal_to_four_decimals_is_equally_good():
    values = steady({"one": 0.02})
    values["two"] = {unit: value + 0.000001 for unit, value in values["one"].items()}
    bold = [line[0] for line in markdown_rows(to_markdown(table_of(values))) if line[1].startswith("**")]
    assert bold == ["one", "two"]


def test_an_arm_that_lacks_units_is_marked_and_cannot_be_the_best():
    values = steady({"arm": 0.02, "few": 0.01})
    values["few"] = {unit: 0.9 for unit in list(values["few"])[:2]}
    text = to_markdown(table_of(values))
    lines = {line[0]: line for line in markdown_rows(text)}
    assert lines["few"][1] == "0.9000 ± 0.0000 †" and lines["arm"][1].startswith("**")
    assert "\n- † lacks pairs that other arms have" in text and "no row for set0 seeds 2 to 5." in text
    assert "†" not in to_markdown(table_of(steady({"arm": 0.02})))


def test_a_unit_without_the_score_in_any_arm_makes_none_incomplete():
    values = {arm: {**cells, ("camvid", 0): math.nan} for arm, cells in steady({"arm": 0.02}).items()}
    assert "†" not in to_markdown(table_of(values))


def test_single_units_no_pairs_and_one_seed_are_said_in_the_cells():
    values = {"base": {("d", 0): 0.5}, "arm": {("d", 0): 0.6}, "apart": {("e", 0): 0.7}}
    lines = {line[0]: line for line in markdown_rows(to_markdown(table_of(values)))}
    assert lines["arm"][1:] == ["0.6000 (n = 1) †", "+0.1000", "1.0000", "1 (one seed)"]
    assert lines["apart"][2:] == ["none", "", "0"]


def test_several_scores_stand_side_by_side():
    rows = make_rows(random_values(3, 1, 3))
    rows = [replace(row, scores={**row.scores, "mae": 0.3 - row.scores["f_mean"] / 4}) for row in rows]
    table = arm_table(rows, [compare(rows, "test", score, "a") for score in ("f_mean", "mae")])
    header, *body = markdown_rows(to_markdown(table))
    assert header[1] == "f_mean mean ± sd ↑" and header[5] == "mae mean ± sd ↓" and len(header) == 9
    assert all(len(line) == 9 for line in body)
    latex = to_latex(table, "tab:two")
    assert r" & \multicolumn{4}{c}{f\_mean} & \multicolumn{4}{c}{mae} \\" in latex
    assert r"\cmidrule(lr){2-5}" in latex and r"\cmidrule(lr){6-9}" in latex
    assert r"\begin{tabular}{lrrrrrrrr}" in latex


def test_the_table_per_data_set_has_mean_and_sd_over_seeds():
    values = {
        "base": {("d", 0): 0.5, ("d", 1): 0.6, ("e", 0): 0.7},
        "arm": {("d", 0): 0.7, ("d", 1): 0.9, ("e", 0): math.nan},
        "few": {("d", 0): 0.99, ("e", 0): 0.1},
    }
    rows = make_rows(values, seconds={"base": 60.0, "arm": 90.0, "few": 0.0})
    comparison = compare(rows, "test", "f_mean", "base")
    header, *body = markdown_rows(to_markdown(dataset_table(rows, comparison)))
    assert header == ["arm", "f_mean ↑ d", "f_mean ↑ e", "time / baseline"]
    assert body == [
        ["base", "0.5500 ± 0.0707", "**0.7000 (n = 1)**", "1.00"],
        ["arm", "**0.8000 ± 0.1414**", "none", "1.50"],
        ["few", "0.9900 (n = 1)", "0.1000 (n = 1)", "none"],
    ]
    slow = [replace(row, seconds=5 * row.seconds) if row.arm == "arm" and row.seed == 1 else row for row in rows]
    *_, arm, _ = markdown_rows(to_markdown(dataset_table(slow, compare(slow, "test", "f_mean", "base"))))
    assert arm[-1] == f"{(1.5 * 7.5 * 1.5) ** (1 / 3):.2f}"
    values["base"]["d", 2] = 0.7
    rows = make_rows(values)
    text = to_markdown(dataset_table(rows, compare(rows, "test", "f_mean", "base")))
    assert "| arm | 0.8000 ± 0.1414 (2 of 3) |" in text


def test_the_best_mean_of_a_data_set_is_among_the_arms_that_have_all_its_seeds():
    values = {"base": {("d", 0): 0.5, ("d", 1): 0.5}, "arm": {("d", 1): 0.6, ("d", 2): 0.9}}
    rows = make_rows(values)
    _, *body = markdown_rows(to_markdown(dataset_table(rows, compare(rows, "test", "f_mean", "base"))))
    assert [line[1] for line in body] == ["0.5000 ± 0.0000 (2 of 3)", "0.7500 ± 0.2121 (2 of 3)"]


# what a printer could misread


def test_latex_prints_a_hostile_name_as_it_is():
    """Reads the escaped text as TeX would, and gets the name back."""
    commands = {
        "textbackslash": "\\", "textasciicircum": "^", "textasciitilde": "~", "textless": "<", "textgreater": ">",
        "textbar": "|",
    }  # fmt: skip
    escaped = escape_latex(HOSTILE)
    read = re.sub(r"\\([a-z]+)\{\}", lambda found: f"\0{ord(commands[found[1]])};", escaped)
    read = re.sub(r"\\([{}$&#%_])", lambda found: f"\0{ord(found[1])};", read)
    assert not re.search(r"[\\$&#%_^~<>|]", read), "nothing is left that TeX takes for a command"
    assert not read.startswith(("[", "*")), "at the start of a row they would be an option of the row before"
    assert "--" not in read, "two hyphens would print as a dash"
    read = re.sub(r"[{}]", "", read)
    assert re.sub(r"\0(\d+);", lambda found: chr(int(found[1])), read) == HOSTILE


def test_hostile_names_keep_the_columns_of_every_table():
    values = steady({HOSTILE: 0.02, "__init__": -0.01})
    table = table_of(values)
    assert {len(line) for line in markdown_rows(to_markdown(table))} == {5}
    assert r"| \_\_init\_\_ |" in to_markdown(table)
    latex = to_latex(table, "tab:hostile")
    assert {len(line) for line in latex_rows(latex)} == {5}
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 2
    assert escape_latex(HOSTILE) in latex


def test_latex_has_a_minus_before_a_figure_and_a_hyphen_within_a_name():
    latex = to_latex(table_of(steady({"ls-0.1": -0.02})), "tab:minus")
    (line,) = (line for line in latex_rows(latex) if line[0] == "ls-0.1")
    assert line[2].startswith("$-$0.01") and "-0" not in line[2].replace("$-$0", "")
    assert r"\footnotesize ls-0.1: gain $-$0.01" in latex


def test_markdown_underscores_within_words_stay_bare():
    text = to_markdown(table_of(steady({"virtual_teacher": 0.02, "a|b": 0.01})))
    assert "| virtual_teacher |" in text and r"| a\|b |" in text
    assert r"a\&lt;\~b\~" in to_markdown(table_of(steady({"a&lt;~b~": 0.02})))


def test_the_console_prints_names_as_they_are_and_every_sentence():
    table = table_of(steady({"[bold]x[/bold]": 0.02, HOSTILE: 0.01}))
    out = io.StringIO()
    Console(file=out, width=400).print(to_rich(table))
    text = out.getvalue()
    for name in ("[bold]x[/bold]", HOSTILE):
        assert text.count(name) == 2, "in its row and in its verdict"
    assert "gain [95 %]" in text
    assert table.sentence in text and all(note in text for note in table.notes)
