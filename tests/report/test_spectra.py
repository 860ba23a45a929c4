"""The page of a spectral analysis, in words and in a real browser."""

import re
from dataclasses import replace
from typing import get_args

import pytest

from segkd.analysis.evidence import Sentence, Verdict
from segkd.analysis.figures import draw_figures
from segkd.analysis.summary import group
from segkd.report.spectra import CAPTIONS, SECTIONS, spectra_page
from tests.analysis.conftest import synthetic
from tests.report.browser import DARK, PHONE

NASTY = "</script><script>window.broken=1</script>\"'&"
SAID = [Sentence(f"{NASTY} is {verdict}.", verdict) for verdict in get_args(Verdict)]
ABOUT = {"command": ["segkd", "analyse", NASTY], "data": NASTY, "split": "val"}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def groups():
    runs = [synthetic("baseline", seed, n=12, heatmap=True, notes=[NASTY]) for seed in range(3)]
    return group([*runs, replace(synthetic("other", n=12, learning=False), name=NASTY)])


@pytest.fixture(scope="module")
def page(groups, tmp_path_factory):
    """The page with its real figures: (text, path)."""
    folder = tmp_path_factory.mktemp("spectra")
    text = spectra_page(groups, SAID, draw_figures(groups, folder), ABOUT)
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return text, path


@pytest.fixture
def pixels(tmp_path):
    """A tiny picture for each figure."""
    found = {name: tmp_path / f"{name}.png" for name in CAPTIONS}
    for path in found.values():
        path.write_bytes(PIXEL)
    return found


def test_every_figure_has_words_and_a_section():
    assert set(CAPTIONS) == {"overview"} | {name for names in SECTIONS.values() for name in names}


def test_names_are_escaped_and_no_address_is_written(page):
    text, _ = page
    assert NASTY not in text and "<script" not in text
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import", re.sub(r"base64,[^\"]*", "", text))
    assert "Content-Security-Policy" in text


def test_sentences_come_first_then_the_overview_then_output_and_input_apart(groups, pixels):
    text = spectra_page(groups, SAID, pixels, ABOUT)
    places = [text.index(part) for part in (
        "What was found", 'class="verdict supported"', 'class="verdict measured"', 'id="overview"', "<h2>Output",
        'id="learning"', 'id="outline"', "<h2>Input", 'id="reliance"', 'id="heatmap"', "<h2>Both", 'id="maps"',
        "Numbers by band", "<h2>Notes", "What it took", "Command",
    )]  # fmt: skip
    assert places == sorted(places)
    assert [text.count(f'class="verdict {name.replace(" ", "-")}"') for name in get_args(Verdict)] == [1] * 4


def test_what_is_not_there_leaves_no_empty_section(groups, pixels):
    kept = {name: pixels[name] for name in ("overview", "learning")}
    text = spectra_page([groups[1]], [], kept, {})
    assert "<h2>Output" in text and "<h2>Input" not in text and "<h2>Both" not in text
    assert "What was found" not in text and "<h2>Notes" not in text and text.count("<img") == 2


def test_the_table_has_the_numbers_of_each_band(groups, pixels):
    text = spectra_page(groups, [], pixels, ABOUT)
    rows = {row[0]: row[1:] for row in (re.findall(r"<td>(.*?)</td>", row) for row in text.split("<tr>")[2:]) if row}
    curve = groups[0].curves["error"]
    cells = rows["baseline: OUTPUT relative error"]
    assert len(cells) == 8
    for band, cell in enumerate(cells):
        assert cell.startswith(f"{curve.mean[band]:.3g} ")
        assert f"[{curve.low[band]:.3g}, {curve.high[band]:.3g}]" in cell
    low, high = rows["baseline: INPUT f_mean with bands up to it"], rows["baseline: INPUT f_mean with bands from it on"]
    assert low[7] == high[0] == "–" and low[0] != "–" and high[7] != "–"
    ends = groups[0].curves["half"].seed_interval
    assert f"[{ends[0][0]:.3g}, {ends[1][0]:.3g}]" in rows["baseline: OUTPUT epoch at half error"][0]  # over seeds
    assert "&lt;/script&gt;" in "".join(rows) and not any("epoch" in key for key in rows if "script" in key)


def test_a_note_is_said_once_with_its_runs_and_costs_are_told(groups, pixels):
    text = spectra_page(groups, [], pixels, ABOUT)
    assert "(baseline seed 0, baseline seed 1, baseline seed 2)" in text
    assert text.count("<td>31.5</td><td>12.5</td>") == 4


def test_the_page_works_in_a_browser(page, browser):
    _, path = page
    browser.open(path)
    assert browser.js("[...document.images].length") == 9
    assert browser.js("[...document.images].every(i => i.complete && i.naturalWidth > 300 && i.alt.length > 50)")
    assert browser.js("document.querySelectorAll('.found li').length") == 4
    assert browser.js("window.broken") is None
    assert browser.said() == []
    assert [url for url in browser.fetched() if not url.startswith("data:")] == [path.as_uri()]


def test_the_page_and_its_figures_fit_a_phone_and_darken(page, browser):
    _, path = page
    browser.call("Emulation.setDeviceMetricsOverride", PHONE)
    browser.open(path)
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    assert browser.js("[...document.querySelectorAll('.paper img')].every(i => i.clientWidth < innerWidth)")
    browser.click("#overview")  # a tap makes it large; it scrolls in its frame
    assert browser.js("document.querySelector('#overview').clientWidth") > 700
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    light = browser.js("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", DARK)
    assert browser.js("getComputedStyle(document.body).backgroundColor") != light
    assert "invert" in browser.js("getComputedStyle(document.querySelector('#overview')).filter")
    assert (
        browser.js("getComputedStyle(document.querySelector('#maps')).filter") == "none"
    )  # brightness is what it tells
    assert browser.said() == []
