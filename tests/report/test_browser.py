"""The browser's ears: a page that speaks, throws and fetches is heard, so that silence elsewhere means something."""


def test_what_a_page_says_throws_and_asks_for_is_heard(browser, tmp_path):
    loud, quiet, picture = (tmp_path / name for name in ("loud.html", "quiet.html", "not_there.png"))
    loud.write_text("<script>console.log('hello'); setTimeout(() => { throw new Error('broken') })</script>"
                    "<img src='not_there.png'>")  # fmt: skip
    quiet.write_text("<p>nothing</p>")
    browser.open(loud)
    assert browser.js("new Promise(done => setTimeout(() => done(7), 50))") == 7
    said = " ".join(line["message"] for line in browser.said())
    assert all(words in said for words in ("hello", "broken", picture.name))
    assert browser.fetched() == [loud.as_uri(), picture.as_uri()]
    browser.open(quiet)
    assert browser.said() == [] and browser.fetched() == [quiet.as_uri()]
