import pytest

from tests.report.browser import Browser, find_browser


@pytest.fixture
def browser():
    """A real browser with a fresh profile."""
    if find_browser() is None:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    one = Browser()
    yield one
    one.close()
