"""The explorer and a page of each language in a real browser, opened from files."""

import warnings
from pathlib import Path

import pytest
from browser import CHROMIUM, DRIVER, browser, troubles
from built import SITE, needs_site, skipped

HERE = Path(__file__).parent
EN, ZH = "differences/torch-mindspore.html", "zh/differences/torch-mindspore.html"
needs_chromium = skipped(
    CHROMIUM is None or DRIVER is None, "no Chromium: Debian's packages chromium, chromium-driver"
)
pytestmark = [needs_site, needs_chromium]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    pytest.importorskip("selenium")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with browser(tmp_path_factory.mktemp("profile")) as driver:
            yield driver


def opened(driver, page, width=1280):
    """A page, from its file; nothing is asked of anybody for it."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    name, _, fragment = page.partition("#")
    driver.get("about:blank")
    troubles(driver)
    driver.get((SITE / name).as_uri() + (f"#{fragment}" if fragment else ""))
    assert troubles(driver) == []


def texts(driver, selector):
    return [e.text for e in driver.find_elements("css selector", f"#explorer {selector}")]


def calls(driver):
    return texts(driver, ".calls code")


def keys(driver, *pressed):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*pressed).perform()


def one(driver, name):
    return driver.find_element("id", f"explorer-{name}")


def typed(driver, name, text):
    box = one(driver, name)
    box.clear()
    box.send_keys(text)


def chosen(driver, name, value):
    from selenium.webdriver.support.select import Select

    Select(one(driver, name)).select_by_value(value)


def test_it_computes_here_what_the_package_gives(driver):
    opened(driver, "explorer.html")
    check = (HERE / "explorer_check.js").read_text(encoding="utf-8")
    cases = (HERE / "explorer_vectors.json").read_text(encoding="utf-8")
    script = f"{check}\nreturn explorerDisagrees(BatchNormExplorer, {cases});"
    assert driver.execute_script(script) == []


@pytest.mark.parametrize(
    ("page", "word"), [("explorer.html", "because"), ("zh/explorer.html", "因为")]
)
def test_both_languages_show_calls_curves_and_the_first_difference(driver, page, word):
    opened(driver, page)
    assert calls(driver) == [
        "nn.BatchNorm2d(3)",
        "nn.BatchNorm2d(3)",
        "nn.BatchNorm2d(3, momentum=0.1)",
    ]
    first = texts(driver, ".first li")
    assert len(first) == 2
    assert word not in first[0]
    assert word in first[1]
    assert len(texts(driver, "figure svg")) == 2
    described = driver.find_elements("css selector", "#explorer figure svg[role=img][aria-label]")
    assert len(described) == 2
    dashes = {
        driver.execute_script(
            "return getComputedStyle(document.querySelector(arguments[0])).strokeDasharray",
            f"#explorer .curve.{side}",
        )
        for side in ("source", "right", "ignored")
    }
    assert len(dashes) == 3  # told apart without colours
    assert driver.find_elements("css selector", "#explorer table tbody tr")


def test_settings_are_in_the_address_and_come_back_from_it(driver):
    opened(driver, "explorer.html")
    typed(driver, "a-momentum", "0.3")
    typed(driver, "samples", "2")
    chosen(driver, "to", "keras")
    one(driver, "leave-epsilon").click()
    before = calls(driver), texts(driver, ".first li")
    assert before[0][1] == "keras.layers.BatchNormalization(axis=1, momentum=0.7, epsilon=1e-05)"
    assert before[0][2] == "keras.layers.BatchNormalization(axis=1, momentum=0.3)"
    address = driver.current_url
    assert one(driver, "link").get_attribute("value") == address
    for part in ("to=keras", "a.momentum=0.3", "samples=2", "ignored=momentum%2Cepsilon"):
        assert part in address
    opened(driver, "explorer.html#" + address.partition("#")[2])
    assert (calls(driver), texts(driver, ".first li")) == before


def test_what_an_address_has_wrong_is_said(driver):
    opened(driver, "explorer.html#from=torch&to=jax&samples=x&a.eps=one&a.nothing=1&rank=7&seed=3")
    (told,) = texts(driver, "[role=alert]")
    for part in ("to=jax", "samples=x", "a.eps=one", "a.nothing=1", "rank=7"):
        assert part in told
    assert "seed" not in told
    assert one(driver, "seed").get_attribute("value") == "3"


def test_a_bad_number_is_named_and_changes_nothing(driver):
    opened(driver, "explorer.html")
    before = calls(driver)
    typed(driver, "a-eps", "tiny")
    assert one(driver, "a-eps").get_attribute("aria-invalid") == "true"
    assert "number" in one(driver, "a-eps-bad").text
    assert calls(driver) == before


def test_what_a_framework_refuses_is_said_in_its_words(driver):
    opened(driver, "explorer.html#from=torch&to=mindspore&a.eps=1.5")
    assert any("must be in (0, 1]" in text for text in texts(driver, ".differences li"))
    opened(driver, "explorer.html#from=mindspore&to=torch&rank=2&samples=1")
    assert any("more than 1 value per channel" in text for text in texts(driver, ".first li"))


def test_the_keyboard_suffices(driver):
    from selenium.webdriver.common.keys import Keys

    opened(driver, "explorer.html")
    driver.execute_script("document.getElementById('explorer-from').focus()")
    names = []
    for _ in range(40):
        names.append(driver.switch_to.active_element.get_attribute("id"))
        if names[-1] == "explorer-copy":
            break
        keys(driver, Keys.TAB)
    wanted = ["from", "swap", "to", "rank", "a-eps", "samples", "leave-momentum", "at", "copy"]
    assert [n for n in names if n in {f"explorer-{w}" for w in wanted}] == [
        f"explorer-{w}" for w in wanted
    ]
    driver.execute_script("document.getElementById('explorer-leave-momentum').focus()")
    keys(driver, Keys.SPACE)
    assert driver.switch_to.active_element.get_attribute("id") == "explorer-leave-momentum"
    assert calls(driver)[2] == calls(driver)[1]
    driver.execute_script("document.getElementById('explorer-at').focus()")
    keys(driver, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert all("step 3" in text for text in texts(driver, ".reading li"))
    driver.execute_script("document.getElementById('explorer-swap').focus()")
    keys(driver, Keys.ENTER)
    assert "from=mindspore" in driver.current_url


def test_every_control_has_a_name(driver):
    opened(driver, "explorer.html")
    unnamed = driver.execute_script(
        "return [...document.querySelectorAll('#explorer :is(input,select,textarea,button)')]"
        ".filter(e => !e.labels?.length && !e.textContent.trim() && !e.title"
        " && !e.ariaLabel).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_the_link_is_copied(driver):
    opened(driver, "explorer.html#steps=7")
    one(driver, "copy").click()
    driver.implicitly_wait(2)
    status = driver.find_element("css selector", "#explorer .share [role=status]:not(:empty)")
    assert status.text in ("Copied.", "Selected: copy it with Ctrl+C.")


@pytest.mark.parametrize("page", ["explorer.html", "zh/explorer.html", "zh/index.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(driver, page, width):
    opened(driver, page, width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("page", [EN, ZH])
@pytest.mark.parametrize(("width", "section"), [(390, "summary"), (1280, "parameters")])
def test_the_table_to_read_first_is_in_sight_to_its_last_column(driver, page, width, section):
    opened(driver, page, width)
    table = driver.find_element("css selector", f"p:has(#{section}) ~ .md-typeset__scrollwrap")
    wide, seen = (table.get_property(name) for name in ("scrollWidth", "clientWidth"))
    assert table.find_elements("css selector", "th")
    assert wide <= seen


def test_dark_mode_is_dark(driver):
    shades = {}
    for value in ("dark", "light"):
        scheme = [{"name": "prefers-color-scheme", "value": value}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        opened(driver, "explorer.html")
        driver.execute_script("localStorage.clear()")  # what an earlier page has chosen
        opened(driver, "explorer.html")
        shades[value] = driver.execute_script(
            "return [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.curve.right')).stroke]"
        )
    assert all(dark != light for dark, light in zip(shades["dark"], shades["light"], strict=True))
    assert sum(map(int, shades["dark"][0][4:-1].split(","))) < 150


@pytest.mark.parametrize(
    ("page", "other", "asked", "found"),
    [(EN, ZH, "momentum", "momentum"), (ZH, EN, "滑动方差", "方差")],
)
def test_a_page_is_searched_without_a_server(driver, page, other, asked, found):
    opened(driver, page)
    driver.find_element("css selector", "[data-md-component=search-query]").send_keys(asked)
    driver.implicitly_wait(10)
    hit = driver.find_element("css selector", ".md-search-result__item")
    assert found in hit.get_attribute("textContent").lower()
    assert troubles(driver) == []
    link = driver.find_element("css selector", "a.language").get_attribute("href")
    assert link == (SITE / other).as_uri()
