import pytest

from tests.report.browser import Browser, find_browser


@pytest.fixture
def browser(tmp_path):
    """A real browser with a profile of its own."""
    if find_browser() is None:
        pytest.skip("no Chromium: apt-get install chromium")
    one = Browser(tmp_path / "profile")
    yield one
    one.close()
