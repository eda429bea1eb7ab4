"""The page in a browser: sorting, filters, images, narrow screens, accessibility, console and network."""

import json
import pathlib
import shutil

import pytest
from report_study import row, saved_set, study_rows

from experiments.report import report

ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    for made in study_rows():
        if made["rate"] in (0.2, 0.8) or made["method"] == "other" or made["ipc"] == 50:
            continue
        folder = root / "runs" / made["fingerprint"]
        folder.mkdir(parents=True)
        (folder / "row.json").write_text(json.dumps(made))
        if (made["ipc"], made["seed"], made["method"]) == (1, 0, "toy"):
            saved_set(folder / "distilled")
    failure = row(0.0, method="broken", seed=7) | {"status": "failed", "reason": "out of memory"}
    (root / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    report(root, quiet=True)
    return (root / "report" / "report.html").as_uri()


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install .[browser]"
    )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, address):
    """Open the page. At the end, check that the console is empty and that nothing was requested from the network."""
    messages, requests, contexts = [], [], []

    def at(width=1280, scheme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield at
    for context in contexts:
        context.close()
    assert messages == []
    assert {url.split(":")[0] for url in requests} <= {"file", "data"} and requests.count(address) == len(contexts)


def unfolded(page, key):
    """Open a folded section of the page."""
    page.locator(f"#{key} > details > summary").click()
    return page


def column(page, name):
    heads = page.locator("#results thead th").all_inner_texts()
    at = next(i for i, words in enumerate(heads, 1) if words.startswith(name))
    return page.locator(f"#results tbody tr:visible td:nth-child({at})").all_inner_texts()


def number(words):
    return float(words.split(" ±")[0].replace("−", "-"))


def test_headings_sort_in_both_orders_with_missing_values_last(opened):
    page = unfolded(opened(), "table")
    head = page.locator("#results th", has_text="Δ last")
    for order in ("ascending", "descending"):
        head.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") == order
        values = column(page, "Δ last")
        present = [number(v) for v in values if v != "–"]
        assert present == sorted(present, reverse=order == "descending") and len(set(present)) > 5
        assert set(values[len(present) :]) == {"–"}
    page.locator("#results th", has_text="Method").get_by_role("button").click()
    assert page.locator('#results th[aria-sort="ascending"]').count() == 1
    assert column(page, "Method") == sorted(column(page, "Method"))


def test_filters_and_search_select_rows(opened):
    page = unfolded(opened(), "table")
    whole = page.locator("#results tbody tr").count()
    page.locator("[data-filter=noise]").select_option("symmetric")
    page.locator("[data-filter=method]").select_option("toy")
    assert set(column(page, "Noise")) == {"symmetric"} and set(column(page, "Method")) == {"toy"}
    assert page.locator("#count").inner_text() == f"4 of {whole} results"
    page.get_by_label("Search").fill("0.4")
    assert set(column(page, "Rate")) == {"0.4"} and page.locator("#count").inner_text() == f"2 of {whole} results"
    page.get_by_label("Search").fill("nothing like this")
    assert page.locator("#count").inner_text() == f"0 of {whole} results"


def test_images_are_shown_and_can_be_enlarged(opened):
    page = opened()
    images = page.locator("main img")
    assert images.count() == 6
    assert images.evaluate_all("all => all.every(one => one.naturalWidth > 0 && one.clientWidth > 0)")
    button = page.locator(".enlarge").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible() and page.locator("dialog img").evaluate("one => one.naturalWidth") > 0
    page.keyboard.press("Escape")
    assert page.locator("dialog").is_hidden()
    assert button.evaluate("one => one === document.activeElement")


def test_a_confusion_table_can_be_unfolded(opened):
    page = unfolded(opened(), "confusion-section")
    name = page.get_by_text("digits, symmetric 0.4: toy, 10 per class", exact=True)
    table = page.locator("#confusion-section details details", has=name)
    assert not table.locator("td.strong").first.is_visible()
    table.locator("summary").click()
    assert table.locator("td.strong").first.inner_text() == "80"


def test_links_to_rows_unfold_their_runs(opened):
    page = opened()
    page.get_by_text("Test, comparisons and rows of “Small sets beat all images at high noise”", exact=True).click()
    link = page.locator("#C1 .rows a").first
    target = link.get_attribute("href")
    assert page.locator(target).is_hidden()
    link.click()
    page.locator(target).wait_for(state="visible")
    assert "python -m experiments.one" in page.locator(target).inner_text()


@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_screen(opened, width):
    page = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    out = "all => all.filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML)"
    assert page.locator("main :is(p, h2, h3, li, figure, svg, img, select, summary, dd)").evaluate_all(out) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = opened(375 if scheme == "light" else 1280, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = axe.Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]][:2]) for one in found] == []


def test_the_page_can_be_printed(opened, tmp_path):
    page = opened()
    page.pdf(path=tmp_path / "page.pdf")
    assert pathlib.Path(tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden() and page.locator(".filters").is_hidden()
    assert page.locator("body").evaluate("one => getComputedStyle(one).color") == "rgb(28, 28, 26)"
