"""The page in a real browser: it sorts, slides, fetches nothing, says nothing, fits a phone, hears the keyboard."""

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from segkd.datasets.corruptions import CORRUPTIONS
from segkd.experiment.robustness import Robustness
from segkd.experiment.scoring import describe
from segkd.metrics.counts import count_binary
from segkd.metrics.meter import Meter
from segkd.metrics.protocol import PLAIN, fingerprint
from segkd.report.judging import Exhibit, Judged
from segkd.report.page import page
from tests.report.browser import DARK, PHONE

NASTY = "</script><script>window.broken=1</script>\"'&"


def sample(number):
    draw = np.random.default_rng(number)
    label = np.zeros((40, 60), np.uint8)
    if number:
        label[10:30, 10 : 20 + 2 * number] = 1
    prediction = np.clip(np.roll(label, number, axis=1) * 0.8 + draw.random(label.shape) * 0.2, 0, 1).astype(np.float32)
    image = draw.integers(0, 256, (40, 60, 3)).astype(np.uint8)
    return Exhibit(image, label, prediction)


@pytest.fixture
def judged(tmp_path):
    names = {f"{n:02d}": n for n in range(14)} | {NASTY: 14}
    meter = Meter(["background", f"object {NASTY}"])
    for name, number in names.items():
        one = sample(number)
        meter.add(name, count_binary(one.prediction, one.label, 0.5))
    (tmp_path / "config.yaml").write_text(f"data: {{root: {NASTY}}}\n")
    lines = [{"kind": "train", "step": s, "loss": 1 / s, "lr": 0.1, "terms": {"task": 1 / s}} for s in range(1, 30)]
    lines += [{"kind": "val", "step": s, "miou_image": 1 - 1 / s, "mae": 1 / s} for s in range(10, 30, 10)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    about = {"fingerprint": fingerprint(PLAIN, 0.5)}
    show = partial(lambda names, id: sample(names[id]), names)
    return Judged("set", f"model {NASTY}", meter, describe(meter, about), show, {"x": NASTY}, [], tmp_path)


def test_names_and_settings_are_escaped_and_no_address_is_written(judged):
    text = page(judged, ["segkd", "evaluate", NASTY])
    assert NASTY not in text and text.count("</script>") == 2 and text.count("<script") == 2
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import", text)
    assert "config.yaml" in text and "Learning rate" in text
    assert "1 of 15 labels hold no foreground" in text


def test_what_makes_scores_of_little_worth_stands_on_the_page(judged):
    assert '<ul class="warning">' not in page(judged, ["segkd"])
    meter = Meter(["background", "object"])
    meter.add("00", count_binary(1 - sample(3).prediction, sample(3).label, 0.5))
    text = page(replace(judged, meter=meter), ["segkd"])
    assert '<ul class="warning"><li>inverted (1 - p), these predictions would have' in text


def test_the_score_by_which_students_of_many_classes_are_kept_is_among_the_learning_curves(judged):
    (judged.run / "metrics.jsonl").write_text('{"kind": "val", "step": 9, "miou_dataset": 0.5, "mae": null}\n')
    assert "Validation: miou_dataset" in page(judged, ["segkd"])


def shown(browser, column):
    return browser.js(f"[...document.querySelectorAll('#images tbody tr')].map(r => r.cells[{column}].textContent)")


def test_the_page_works_in_a_browser(judged, browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(judged, ["segkd", "evaluate"]), encoding="utf-8")
    browser.open(path)
    assert len(shown(browser, 0)) == 15 and NASTY in shown(browser, 0)

    heads = browser.js("[...document.querySelectorAll('#images th')].map(h => h.textContent)")
    mae = heads.index("mae")
    button = f"#images th:nth-child({mae + 1}) button"
    browser.click(button)
    ordered = [float(value) for value in shown(browser, mae)]
    assert ordered == sorted(ordered) and len(set(ordered)) > 5
    browser.type(Keys.ENTER)  # the head has the focus: the keyboard turns the order round
    assert [float(value) for value in shown(browser, mae)] == ordered[::-1]
    browser.click(f"#images th:nth-child({heads.index('f_max') + 1}) button")
    assert shown(browser, heads.index("f_max"))[-1] == "–"  # not defined without foreground: last

    browser.js("document.getElementById('filter').focus()")
    browser.type("</scr")
    assert shown(browser, 0) == [NASTY]

    layers = "[...document.querySelector('.piece').querySelectorAll('img')].map(i => i.style.clipPath)"
    assert browser.js(layers)[1:] == ["inset(0px 100% 0px 0px)"] * 4
    alts = "[...document.querySelectorAll('.piece')].map(p => p.querySelector('img').alt.split(' ')[0])"
    assert set(browser.js(alts)) == {"answer"}  # what is seen first
    browser.js("document.querySelector('.slider').focus()")
    for _ in range(10):
        browser.type(Keys.ARROW_RIGHT)
    assert browser.js(layers)[1] == "inset(0px 80% 0px 0px)"
    browser.click(".piece .stops button:nth-child(5)")
    assert browser.js(layers) == ["none"] * 5
    browser.click(".all button:nth-child(3)")
    values = "[...document.querySelectorAll('.slider')].map(s => s.value)"
    assert set(browser.js(values)) == {"2"} and len(browser.js(values)) > 5
    heights = "[...new Set([...document.querySelectorAll('.stack')].map(s => Math.round(s.offsetHeight)))]"
    assert len(browser.js(heights)) == 1
    assert browser.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")

    assert browser.js("window.broken") is None
    assert browser.said() == []
    assert [url for url in browser.fetched() if not url.startswith("data:")] == [path.as_uri()]


def test_all_pieces_show_the_layer_that_is_asked_for_though_some_lack_the_image(judged, browser, tmp_path):
    def show(id):
        exhibit = judged.show(id)
        return replace(exhibit, image=None) if id < "10" else exhibit

    path = tmp_path / "report.html"
    path.write_text(page(replace(judged, show=show), ["segkd", "evaluate", "a b"]), encoding="utf-8")
    assert "segkd evaluate &#x27;a b&#x27;</pre>" in path.read_text()
    browser.open(path)
    names = "[...document.querySelectorAll('.all button')].map(b => b.textContent)"
    assert browser.js(names) == ["answer", "image", "label", "prediction", "error"]
    asked = "[...document.querySelectorAll('.stops [aria-pressed=true]')].map(b => b.textContent)"
    browser.click(".all button:nth-child(4)")
    assert set(browser.js(asked)) == {"prediction"}
    browser.click(".all button:nth-child(2)")
    assert set(browser.js(asked)) == {"image", "prediction"}  # where there is none, all stays as it is


def test_a_small_loss_under_corruptions_looks_small(judged):
    readings = {one: 0.80004 if one.name == "blur" else 0.8 - 0.01 * one.severity for one in CORRUPTIONS}
    text = page(replace(judged, robustness=Robustness(0.8, readings, 7)), ["segkd", "evaluate"])
    shown = text[text.index("<h2>Under corruptions") :]
    chart = shown[: shown.index("</svg>")]
    heights = [float(height) for height in re.findall(r"[ML][\d.]+ ([\d.]+)", chart)]
    axis = max(float(height) for height in re.findall(r'class="grid"[^>]* y1="([\d.]+)"', chart))
    assert max(heights) - min(heights) < 0.1 * (axis - max(heights))  # from 0, a loss of .03 of .8
    assert "-0.0000" not in text


def test_a_score_keeps_its_line_beside_a_long_name(judged, browser, tmp_path):
    path, one = tmp_path / "report.html", sample(3)
    meter = Meter(["background", "object"])
    meter.add("a_photo_of_a_long_name_" * 9, count_binary(one.prediction, one.label, 0.5))
    path.write_text(page(replace(judged, meter=meter, show=lambda id: one), ["segkd"]), encoding="utf-8")
    browser.open(path)
    box = "document.querySelector('.piece figcaption')"
    assert browser.js(f"{box}.clientHeight < 2.5 * parseFloat(getComputedStyle({box}).fontSize)")


def test_all_scores_are_in_sight_and_in_print(judged, browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(judged, ["segkd", "evaluate"]), encoding="utf-8")
    browser.open(path)
    box = "document.querySelector('[aria-label=Scores]')"
    assert browser.js(f"{box}.querySelectorAll('tr').length") > 20
    for media in ("screen", "print"):
        browser.call("Emulation.setEmulatedMedia", {"media": media})
        assert browser.js(f"{box}.scrollHeight <= {box}.clientHeight"), media
    browser.call("Emulation.setEmulatedMedia", {"media": ""})


def test_the_page_fits_a_phone_and_darkens(judged, browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(judged, ["segkd", "evaluate"]), encoding="utf-8")
    browser.call("Emulation.setDeviceMetricsOverride", PHONE)
    browser.open(path)
    assert browser.js("document.documentElement.scrollWidth <= innerWidth")
    light = browser.js("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", DARK)
    assert browser.js("getComputedStyle(document.body).backgroundColor") != light
    assert browser.said() == []
