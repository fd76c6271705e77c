"""Opens a report in headless Chromium and uses it as a reader would; prints what failed and exits 1 if anything did.

python3 page.py PAGE.html [SCREENSHOT_FOLDER]     (needs selenium, chromium, chromedriver)
"""

import pathlib
import shutil
import sys

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

PAGE = pathlib.Path(sys.argv[1]).resolve().as_uri()
SHOTS = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
failures = []


def check(what, ok, detail=""):
    print(("ok    " if ok else "FAILS ") + what + (f": {detail}" if detail and not ok else ""))
    if not ok:
        failures.append(what)


def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
                 "--hide-scrollbars", "--force-color-profile=srgb", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


def show(driver, scheme, width, height):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
        {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]})
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})


def column(driver, number):
    return [row.find_elements(By.TAG_NAME, "td")[number].get_attribute("data-sort")
            for row in driver.find_elements(By.CSS_SELECTOR, "#scores tbody tr") if row.is_displayed()]


def shot(driver, name):
    if SHOTS:
        SHOTS.mkdir(parents=True, exist_ok=True)
        height = driver.execute_script("return document.documentElement.scrollHeight")
        width = driver.execute_script("return innerWidth")
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": width, "height": min(height, 12000), "deviceScaleFactor": 1, "mobile": width < 600})
        driver.save_screenshot(str(SHOTS / name))
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})


def luminance(color):
    channels = [int(part) / 255 for part in color[color.index("(") + 1:-1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(driver, selector):
    """Of an element's text with the page, after WCAG 2."""
    colors = driver.execute_script(
        "const e = document.querySelector(arguments[0]);"
        "return [getComputedStyle(e).fill.startsWith('rgb') && e.closest('svg') ? getComputedStyle(e).fill : getComputedStyle(e).color,"
        "        getComputedStyle(document.body).backgroundColor]", selector)
    high, low = sorted(map(luminance, colors), reverse=True)
    return (high + 0.05) / (low + 0.05)


def main():
    driver = browser()
    try:
        show(driver, "light", 1280, 900)
        driver.get(PAGE)
        rows = len(column(driver, 0))
        check("the table has rows", rows > 1)
        heads = [button.text for button in driver.find_elements(By.CSS_SELECTOR, "#scores th button")]
        score = heads.index("score")
        order = column(driver, score)

        button = driver.find_elements(By.CSS_SELECTOR, "#scores th button")[score]
        button.click()
        ascending = [float(value) for value in column(driver, score)]
        check("a click sorts upwards", ascending == sorted(ascending), ascending)
        button.send_keys(Keys.ENTER)
        descending = [float(value) for value in column(driver, score)]
        check("the keyboard sorts downwards", descending == sorted(descending, reverse=True), descending)
        head = driver.find_elements(By.CSS_SELECTOR, "#scores th")[score]
        check("the order is announced", head.get_attribute("aria-sort") == "descending")
        button.send_keys(Keys.SPACE)
        check("the third time restores the order", column(driver, score) == order)
        time = heads.index("training")
        driver.find_elements(By.CSS_SELECTOR, "#scores th button")[time].click()
        values = column(driver, time)
        known = [value for value in values if value]
        check("unknown values come last", values[:len(known)] == known, values)
        check("costs sort by value", [float(v) for v in known] == sorted(float(v) for v in known), known)

        method = column(driver, heads.index("method"))[0]
        box = driver.find_element(By.ID, "filter")
        box.send_keys(method)
        shown = column(driver, heads.index("method"))
        check("the filter keeps what it names", 0 < len(shown) < rows and all(method in name for name in shown), shown)
        box.send_keys(Keys.CONTROL, "a", Keys.DELETE)
        driver.find_element(By.ID, "best").send_keys(Keys.SPACE)
        best = len(column(driver, 0))
        check("only the best group", 0 < best < rows, best)
        driver.find_element(By.ID, "best").send_keys(Keys.SPACE)
        tasks = Select(driver.find_element(By.ID, "task"))
        tasks.select_by_index(1)
        chosen = tasks.first_selected_option.text
        check("one task", set(column(driver, 0)) == {chosen}, column(driver, 0))
        tasks.select_by_index(0)
        check("all rows come back", len(column(driver, 0)) == rows)

        driver.find_element(By.CSS_SELECTOR, "#scores tbody a").click()
        opened = driver.find_elements(By.CSS_SELECTOR, "details.run[open]")
        check("a link opens the details", len(opened) == 1)
        check("the configuration is there", any(pre.text for pre in driver.find_elements(By.CSS_SELECTOR, "details.run[open] pre"))
              or "base" in opened[0].text)
        driver.switch_to.active_element.send_keys(Keys.ENTER)
        check("the keyboard closes them", not driver.find_elements(By.CSS_SELECTOR, "details.run[open]"))
        dots = driver.find_elements(By.CSS_SELECTOR, "svg a[href]")
        if dots:
            driver.execute_script("arguments[0].focus()", dots[0])
            driver.switch_to.active_element.send_keys(Keys.ENTER)
            check("a dot of a plot opens the details", len(driver.find_elements(By.CSS_SELECTOR, "details.run[open]")) == 1)
            check("a dot says what it is", dots[0].get_attribute("aria-label").count("[") == 1, dots[0].get_attribute("aria-label"))
        copy = driver.find_elements(By.CSS_SELECTOR, "details.run[open] .copy")
        if copy:
            copy[0].click()
            check("the copy button answers", copy[0].text in ("Copied", "Selected"), copy[0].text)
        check("the tests open", True if not (tests := driver.find_elements(By.CSS_SELECTOR, "details.tests summary"))
              else (tests[0].send_keys(Keys.ENTER) or tests[0].find_element(By.XPATH, "..").get_attribute("open") is not None))

        for scheme in ("light", "dark"):
            for width in (1280, 390):
                show(driver, scheme, width, 900)
                overflow = driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
                check(f"nothing sticks out, {scheme} {width}", overflow <= 0, overflow)
                shot(driver, f"{scheme}-{width}.png")
            for selector in ("body", "th", ".note", "a", "figcaption"):
                ratio = contrast(driver, selector)
                check(f"`{selector}` is readable, {scheme}", ratio >= 4.5, f"{ratio:.1f}")
            if driver.find_elements(By.CSS_SELECTOR, "svg text"):
                ratio = contrast(driver, "svg text")
                check(f"words in plots are readable, {scheme}", ratio >= 4.5, f"{ratio:.1f}")

        # Tab reaches the filter, the table and the runs in the order of the page.
        show(driver, "light", 1280, 900)
        driver.get(PAGE)
        reached = []
        for _ in range(14 + len(tasks_of(driver))):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            active = driver.switch_to.active_element
            reached.append(active.get_attribute("id") or active.get_attribute("class") or active.text)
        check("tab reaches the filter", "filter" in reached and "best" in reached, reached)

        console = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        check("nothing on the console", not console, console)
        requests = [entry["message"] for entry in driver.get_log("performance") if "Network.requestWillBeSent\"" in entry["message"]]
        outside = [message for message in requests if '"url":"http' in message]
        check("no request leaves the page", not outside, outside)
    finally:
        driver.quit()
    sys.exit(1 if failures else 0)


def tasks_of(driver):
    return driver.find_elements(By.CSS_SELECTOR, "nav a")


main()
