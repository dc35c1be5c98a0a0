"""The page in a real browser: it loads alone, shows the right numbers, sorts, filters and is brushed."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from records import append
from test_report import add_trial, new_run

from tuneapp import report
from tuneapp.analysis.effects.csv_curves import import_curves
from tuneapp.report import page
from tuneapp.settings import Metric, Request
from tuneapp.studies import RunDirectory

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.expected_conditions import staleness_of  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="no chromium with its chromedriver is installed"),
]
NASTY = "</script><script>document.title = 'broken'</script><img src=x onerror=\"document.title='broken'\">"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "window-size=1280,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Sixteen trials: val_accuracy 0.50, 0.51 … 0.65, one failed, one stopped, one diverged."""
    run = new_run(tmp_path_factory.mktemp("runs"))
    for number in range(13):
        optimizer = ["sgd", "adamw"][number % 2]
        config = {"optimizer": optimizer, "lr": 0.001 * 1.4**number}
        if optimizer == "sgd":
            config["momentum"] = 0.8 + 0.01 * number
        origin = "warmup" if number < 6 else "bayes"
        add_trial(run, number, [0.3, 0.4, 0.5 + 0.01 * number], origin=origin, **config)
    add_trial(run, 13, [0.2], end="stopped", lr=0.002)
    add_trial(run, 14, [0.2, float("nan")], end="diverged", lr=0.29)
    add_trial(run, 15, [], end="failed", reason=NASTY, optimizer=NASTY)
    append(run, "tested", trial=12, metrics={"test_accuracy": 0.611})
    append(run, "closed")
    report.write(run)
    return run


@pytest.fixture
def opened(browser: Any, run: RunDirectory) -> Iterator[Any]:
    browser.get((run.path / "report.html").as_uri())
    yield browser
    browser.execute_script("sessionStorage.clear()")


def logged(browser: Any) -> tuple[list[str], set[str]]:
    """Messages on the console and addresses asked for by our page, since last read."""
    console = [entry["message"] for entry in browser.get_log("browser")]
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"].startswith("file:")
    }
    return console, asked


def visible_rows(browser: Any) -> list[str]:
    rows = browser.find_elements(By.CSS_SELECTOR, "#trial-table tbody tr:not([hidden])")
    return [row.get_attribute("data-trial") for row in rows]


def test_the_page_loads_alone_and_says_nothing_on_the_console(browser: Any, run: RunDirectory) -> None:
    logged(browser)
    address = (run.path / "report.html").as_uri()
    browser.get(address)
    drawn = browser.find_elements(By.CSS_SELECTOR, ".chart canvas")
    assert len(drawn) == len(browser.find_elements(By.CSS_SELECTOR, ".chart")) >= 8
    console, asked = logged(browser)
    assert console == []
    assert asked == {address}


def test_the_page_shows_the_numbers_of_the_run(opened: Any) -> None:
    assert opened.find_element(By.ID, "best-value").text == "0.62"
    assert opened.find_element(By.ID, "trial-count").text == "16"
    words = opened.find_element(By.ID, "summary").text
    assert "13 finished, 1 stopped early, 1 diverged, 1 failed" in words
    assert "test_accuracy 0.611" in words
    assert "momentum: 0.92" in opened.find_element(By.ID, "config").text
    assert opened.find_element(By.CSS_SELECTOR, "tr.best th").text == "12"


def test_words_of_users_stay_words(opened: Any) -> None:
    assert opened.title == "made: tuneapp report"
    assert "<img src=x onerror=" in opened.find_element(By.ID, "failures").text


def test_a_column_sorts_by_its_numbers_and_back(opened: Any) -> None:
    head = next(
        cell for cell in opened.find_elements(By.CSS_SELECTOR, "#trial-table thead th") if cell.text == "lr"
    )
    button = head.find_element(By.TAG_NAME, "button")
    button.send_keys("\n")  # by keyboard
    assert head.get_attribute("aria-sort") == "ascending"
    assert visible_rows(opened)[:4] == ["0", "1", "2", "13"]  # 13 has 0.002, 2 has 0.00196
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert visible_rows(opened)[0] == "14"


def test_the_filter_keeps_the_rows_with_a_word(opened: Any) -> None:
    opened.find_element(By.ID, "filter").send_keys("stopped")
    assert visible_rows(opened) == ["13"]
    assert opened.find_element(By.ID, "row-count").text == "1 of 16 rows."


def test_brushing_an_axis_keeps_its_trials_in_the_table(opened: Any) -> None:
    chart = opened.find_element(By.ID, "chart-parallel")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    half = {side: chart.size[side] / 2 for side in ("width", "height")}
    # The last axis stands 70 px from the right, from 40 px below the top to 20 px above the foot.
    x = int(half["width"] - 70)
    top, height = 40 - half["height"], chart.size["height"] - 60
    brush = ActionChains(opened).move_to_element_with_offset(chart, x, int(top + height / 4)).click_and_hold()
    brush.move_by_offset(0, -int(height / 8)).move_by_offset(0, -int(height / 8) - 5).release().perform()
    WebDriverWait(opened, 5).until(lambda b: b.find_element(By.ID, "brushed").text)
    kept = visible_rows(opened)
    assert 0 < len(kept) < 16
    assert "12" in kept
    assert "13" not in kept
    opened.find_element(By.ID, "unbrush").click()
    assert len(visible_rows(opened)) == 16


def test_the_map_takes_any_two_hyperparameters(opened: Any) -> None:
    across, up = (Select(opened.find_element(By.ID, f"map-{name}")) for name in "xy")
    across.select_by_visible_text("momentum")
    up.select_by_visible_text("batch_size")
    across.select_by_visible_text("batch_size")  # taken: the two change places
    assert up.first_selected_option.text == "momentum"
    assert logged(opened)[0] == []


def test_dark_and_light_follow_the_reader(opened: Any) -> None:
    grounds = []
    for scheme in ("dark", "light"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        grounds.append(opened.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(20, 23, 27)", "rgb(255, 255, 255)"]
    assert logged(opened)[0] == []


def test_nothing_sticks_out_on_a_phone(browser: Any, run: RunDirectory) -> None:
    screen = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get((run.path / "report.html").as_uri())
    width = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert width == 360


def test_every_part_has_a_name_for_a_screen_reader(opened: Any) -> None:
    nameless = opened.execute_script("""
        const bad = [];
        const all = (selector) => document.querySelectorAll(selector);
        for (const e of all("[role=img], [role=region]")) if (!e.getAttribute("aria-label")) bad.push(e.id);
        for (const e of all("table")) if (!e.caption) bad.push("table");
        for (const e of all("thead th, tbody th")) if (!e.scope) bad.push(e.textContent);
        for (const e of all("button, a")) if (!e.textContent.trim()) bad.push(e.outerHTML);
        for (const e of all("input, select")) if (!e.labels.length) bad.push(e.id);
        let level = 0;
        for (const e of all("h1, h2, h3, h4")) {
            const next = Number(e.tagName[1]);
            if (next > level + 1) bad.push(e.textContent);
            level = next;
        }
        return bad;""")
    assert nameless == []
    assert len(opened.find_elements(By.CSS_SELECTOR, "header, main, footer, nav[aria-label]")) == 4


def test_a_running_page_reads_itself_anew_and_an_ended_one_does_not(
    browser: Any, run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "REFRESH_SECONDS", 1)
    running = new_run(tmp_path)
    add_trial(running, 0, [0.5], end=None)
    with running.lock():
        written = report.write(running)
    browser.get(written.as_uri())
    first = browser.find_element(By.TAG_NAME, "h1")
    WebDriverWait(browser, 20).until(staleness_of(first))
    browser.get((run.path / "report.html").as_uri())
    assert browser.find_element(By.TAG_NAME, "body").get_attribute("data-refresh") == "0"


@pytest.mark.parametrize("state", ["empty", "all failed", "one"])
def test_a_page_of_little_loads_without_errors(browser: Any, tmp_path: Path, state: str) -> None:
    small = new_run(tmp_path)
    if state == "all failed":
        for number in range(3):
            add_trial(small, number, [], end="failed", reason=NASTY)
    elif state == "one":
        add_trial(small, 0, [0.5, 0.6])
    logged(browser)
    browser.get(report.write(small).as_uri())
    assert logged(browser)[0] == []
    assert browser.find_element(By.TAG_NAME, "h1").text == "made"


def test_a_page_of_effects_shows_curves_diagnosis_and_verdict(browser: Any, tmp_path: Path) -> None:
    curves = tmp_path / "curves"
    curves.mkdir()
    for lr, rise in ((0.1, 0.05), (0.01, 0.0)):
        for seed in range(3):
            rows = ["Epoch,Train Loss,Valid Loss,Valid Accuracy"]
            for epoch in range(1, 21):
                train, val = 2 / epoch, 2 / epoch + rise * epoch + 0.001 * seed
                rows.append(f"{epoch},{train},{val},{60 + epoch / 5 - 100 * rise + seed / 10}")
            (curves / f"lr_{lr}_seed_{seed}.csv").write_text("\n".join(rows))
    study = import_curves(curves, None, tmp_path, "effects")
    logged(browser)
    browser.get(report.write(study).as_uri())
    assert logged(browser)[0] == []
    drawn = browser.find_elements(By.CSS_SELECTOR, "[id^=chart-effect] canvas")
    assert len(drawn) == 3
    words = browser.find_element(By.ID, "effects").text
    assert "0.01 is best with a mean val_accuracy of 0.641" in words
    assert "lr 0.1 overfits since iteration 6" in words


def test_a_study_of_two_metrics_shows_its_front(browser: Any, tmp_path: Path) -> None:
    request = Request("made", {}, Metric("score"), also=(Metric("size", "min"),))
    study = RunDirectory.create(tmp_path, "two", request, {})
    for number, (score, size) in enumerate([(0.9, 9.0), (0.8, 3.0), (0.7, 5.0)]):
        append(study, "asked", trial=number, config={"x": number}, origin="bayes", seed=0)
        append(study, "started", trial=number)
        append(study, "iteration", trial=number, iteration=1, metrics={"score": score, "size": size})
        append(study, "finished", trial=number)
    logged(browser)
    browser.get(report.write(study).as_uri())
    assert logged(browser)[0] == []
    rows = browser.find_elements(By.CSS_SELECTOR, "#fronts tbody tr")
    assert [row.text for row in rows] == ["0 0.9 9 x=0", "1 0.8 3 x=1"]
