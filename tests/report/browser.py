"""A real browser: the system's Chromium, driven by Selenium and the system's chromedriver; nothing is downloaded."""

import json
import shutil
from pathlib import Path

from selenium.webdriver import ActionChains, Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)

PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
"""For `Emulation.setDeviceMetricsOverride`."""

DARK = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
"""For `Emulation.setEmulatedMedia`."""


def find_browser() -> tuple[str, str] | None:
    """The paths of a Chromium and of its driver, if both are there."""
    browser, driver = (next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS))
    return (browser, driver) if browser and driver else None


class Browser:
    """One headless page; what it says and what it asks the network for since `open` is kept."""

    def __init__(self) -> None:
        found = find_browser()
        assert found is not None
        options = ChromeOptions()
        options.binary_location = found[0]
        for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars"):
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(found[1]))
        self.call = self.driver.execute_cdp_cmd
        """One command of the debugging protocol and its answer: (method, parameters) -> dict."""
        self._said: list[dict] = []
        self._fetched: list[str] = []

    def open(self, path: Path) -> None:
        """Loads a file and waits until it is there."""
        self._listen()
        self._said.clear()
        self._fetched.clear()
        self.driver.get(path.as_uri())

    def js(self, expression: str) -> object:
        """The value of an expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def click(self, selector: str) -> None:
        """A real click in the middle of an element."""
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).move_to_element(element).click().perform()

    def type(self, keys: str) -> None:
        """Real keys, pressed and released where the focus is; `Keys` has those without a letter."""
        ActionChains(self.driver).send_keys(keys).perform()

    def said(self) -> list[dict]:
        """What reached the console: errors, warnings, and exceptions."""
        self._listen()
        return self._said

    def fetched(self) -> list[str]:
        """The addresses that were asked for."""
        self._listen()
        return self._fetched

    def picture(self, path: Path) -> None:
        """A screenshot of what is in view."""
        self.driver.get_screenshot_as_file(str(path))

    def close(self) -> None:
        """Ends the browser and its driver."""
        self.driver.quit()

    def _listen(self) -> None:
        """Fetches what the driver has heard: it hands every line out once."""
        self._said += self.driver.get_log("browser")
        events = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        self._fetched += [event["request"]["url"] for event in sent]
