"""The report page in a real browser: what it draws, what can be typed, and how it fits a phone and a dark room."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from browser import browsing, chromium
from report_folders import HOSTILE, group_row, some_values, write, write_stability

from median_spark import GeneTable, write_report

pytestmark = pytest.mark.skipif(chromium() is None, reason="needs chromium: apt-get install chromium")

PLOTS = ("density", "cumulative", "detection", "medians", "spread", "errors", "comparison-0", "stability")
GENE, NAME, OTHER = "ENSG00000000012", "TP53", "ENSG00000000020"
UNDETECTED = "ENSG00000000009"
WIDTHS = (375, 768, 1280)

GROUPS = [
    group_row(1.0, assay="10x 3' v3", sex="female", cells=9_000),
    group_row(4.0, assay="Smart-seq2", sex="male", cells=700, apart=True, tried=True),
    group_row(0.9, assay=None, sex="female", cells=800),
]

CLASHES = """
[...document.querySelectorAll('.plot svg')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text:not(.named)')]
    .map((text) => [text.textContent, text.getBoundingClientRect()]);
  const outside = boxes.filter(([, box]) => box.left < -0.5 || box.right > innerWidth + 0.5)
    .map(([text]) => `outside: ${text}`);
  const meeting = boxes.flatMap(([text, box], i) => boxes.slice(i + 1)
    .filter(([, other]) => box.left < other.right && other.left < box.right
      && box.top + 2 < other.bottom - 2 && other.top + 2 < box.bottom - 2)
    .map(([second]) => `${svg.parentElement.id}: ${text} on ${second}`));
  return [...outside, ...meeting];
})
"""  # text of axes that leaves the window or meets other text


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A result folder with groups; not to be written to."""
    folder = tmp_path_factory.mktemp("page") / "medians"
    write(folder, some_values(), groups=GROUPS)
    write_stability(folder)
    return folder


@pytest.fixture(scope="module")
def page(result):
    """Its page, with names and a comparison."""
    other = result.parent / "other.csv"
    medians = pq.read_table(result / "medians.parquet").to_pylist()
    other.write_text(
        "gene,median\n" + "".join(f"{row['gene']},{row['median'] * 1.5}\n" for row in medians if row["n_cells"])
    )
    table = GeneTable("genes.csv", {}, {GENE: NAME, OTHER: "TP63", UNDETECTED: "TP73"})
    return write_report(str(result), str(result.parent / "page.html"), compare=[str(other)], gene_table=table)


@pytest.fixture(scope="module")
def median(result):
    """The median of GENE."""
    rows = pq.read_table(result / "medians.parquet").to_pylist()
    return next(row["median"] for row in rows if row["gene"] == GENE)


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with browsing(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chrome):
    """The browser; whatever the test does, the page must not complain and must not load anything."""
    chrome.problems.clear()
    chrome.requests.clear()
    yield chrome
    assert chrome.problems == []
    assert {url.split(":")[0] for url in chrome.requests} <= {"file"}
    assert len(chrome.requests) <= 2


def ask_for(browser, text):
    """Put the cursor in the field, as a person does with Tab or a click, and type."""
    browser.value("document.getElementById('gene-name').select()")
    browser.type(text)


def points_of(browser, plot, kind="curve"):
    path = browser.value(f"document.querySelector('#plot-{plot} path.{kind}').getAttribute('d')")
    return np.array([[float(part) for part in place.split(",")] for place in path.lstrip("M").split("L")])


class TestOneGene:
    def test_typing_a_name_shows_its_curve(self, browser, page, median):
        browser.show(page)
        ask_for(browser, NAME.lower())
        assert browser.value("document.getElementById('gene-name').getAttribute('aria-expanded')") == "true"
        assert NAME in browser.text("#gene-list [role=option]")
        browser.press("Enter")
        assert browser.text("#gene-label") == f"{NAME} {GENE}"
        assert f"{median:#.4g}" in browser.text("#gene-facts")
        assert f"median {median:#.4g}" in browser.value("document.getElementById('plot-density').textContent")
        label = browser.value("document.getElementById('plot-density').getAttribute('aria-label')")
        assert NAME in label
        assert f"{median:#.4g}" in label
        curve = points_of(browser, "density")
        assert len(curve) > 100
        assert np.isfinite(curve).all()
        assert np.ptp(curve[:, 1]) > 100

    def test_the_curves_are_those_of_its_values(self, browser, page):
        values = some_values()[GENE]
        browser.show(page)
        ask_for(browser, GENE)
        browser.press("Enter")
        curve = points_of(browser, "cumulative")
        assert (np.diff(curve[:, 0]) >= 0).all()
        assert (np.diff(curve[:, 1]) <= 0).all()  # downwards on the screen
        low, high = np.log10(values.min()), np.log10(values.max())
        at = 10 ** np.interp(curve[:, 0], [curve[0, 0], curve[-1, 0]], [low, high])
        share = np.interp(curve[:, 1], [curve[-1, 1], curve[0, 1]], [1, 0])
        wanted = np.searchsorted(np.sort(values), at) / len(values)
        assert np.abs(share - wanted).max() < 0.02
        density = points_of(browser, "density")
        peak = density[density[:, 1].argmin(), 0]
        guide = points_of(browser, "density", "guide")[0, 0]
        assert abs(peak - guide) < 0.15 * np.ptp(density[:, 0])  # a log-normal's mode is near its median

    def test_the_list_is_walked_with_the_arrow_keys(self, browser, page):
        browser.show(page)
        ask_for(browser, "TP")
        assert browser.value("document.querySelectorAll('#gene-list [role=option]').length") == 3
        for _ in range(2):
            browser.press("ArrowDown")
        option = browser.value("document.getElementById('gene-name').getAttribute('aria-activedescendant')")
        chosen = browser.text(f"#{option}")
        assert browser.value(f"document.getElementById('{option}').getAttribute('aria-selected')") == "true"
        browser.press("Enter")
        assert browser.text("#gene-label").split()[0] == chosen.split()[0] == "TP63"
        assert browser.value("document.getElementById('gene-list').hidden")

    def test_escape_closes_the_list(self, browser, page):
        browser.show(page)
        before = browser.text("#gene-label")
        ask_for(browser, "TP")
        browser.press("Escape")
        assert browser.value("document.getElementById('gene-list').hidden")
        assert browser.text("#gene-label") == before

    def test_an_undetected_gene_is_told(self, browser, page):
        browser.show(page)
        ask_for(browser, "TP73")
        browser.press("Enter")
        assert f"TP73 {UNDETECTED} is not detected" in browser.text("#gene-said")
        assert browser.value("document.getElementById('gene-shown').hidden")

    def test_what_is_not_there_is_told(self, browser, page):
        browser.show(page)
        ask_for(browser, "NOSUCH<b>")
        assert browser.text("#gene-said") == "No gene matches “NOSUCH<b>”."
        browser.press("Enter")
        assert browser.value("document.getElementById('gene-list').hidden")

    def test_a_click_on_its_point_chooses_a_gene(self, browser, page):
        browser.show(page)
        ask_for(browser, NAME)
        browser.press("Enter")
        across, down = browser.value(
            "['cx', 'cy'].map((place) => Number(document.querySelector('#plot-spread circle').getAttribute(place)))"
        )
        ask_for(browser, OTHER)
        browser.press("Enter")
        assert browser.text("#gene-label") == f"TP63 {OTHER}"
        browser.value("document.getElementById('plot-spread').scrollIntoView()")
        left, top = browser.value(
            "(({left, top}) => [left, top])(document.querySelector('#plot-spread svg').getBoundingClientRect())"
        )
        browser.click(left + across, top + down)
        assert browser.text("#gene-label") == f"{NAME} {GENE}"

    def test_the_field_is_reached_with_the_keyboard(self, browser, page):
        browser.show(page)
        for _ in range(40):
            browser.press("Tab")
            if browser.value("document.activeElement.id") == "gene-name":
                return
        pytest.fail("Tab does not lead to the field")


class TestGroups:
    def test_a_gene_is_shown_across_groups(self, browser, page, median):
        browser.show(page)
        ask_for(browser, NAME)
        browser.press("Enter")
        rows = browser.value(
            "[...document.querySelectorAll('#groups-of-gene tr')]"
            ".map((row) => [...row.children].map((cell) => cell.innerText))"
        )
        n_cells = float(f"{len(some_values()[GENE]):.2g}")
        assert [row[0] for row in rows] == ["10x 3' v3, female", "(none), female", "Smart-seq2, male"]
        assert [float(row[1]) for row in rows] == pytest.approx([median, 0.9 * median, 4 * median], rel=0.005)
        assert [row[3] for row in rows] == ["× 1.00", "÷ 1.11", "× 4.00"]
        assert [float(row[4].replace(",", "")) for row in rows] == pytest.approx([n_cells] * 3, rel=0.05)
        assert browser.text("#groups-said") == "From ÷ 1.11 to × 4.00, compared with its corpus median."
        places = browser.value(
            "[...document.querySelectorAll('#groups-of-gene .dot')].map((dot) => parseFloat(dot.style.left))"
        )
        assert places[0] == 50
        assert places[1] < 50 < places[2] < 100

    def test_dots_of_few_cells_are_hollow(self, browser, page):
        browser.show(page)
        values = some_values()
        few = next(gene for gene, found in values.items() if 0 < len(found) < 90)
        many = next(gene for gene, found in values.items() if len(found) > 120)
        for gene, hollow in ((few, 3), (many, 0)):
            ask_for(browser, gene)
            browser.press("Enter")
            assert browser.value("document.querySelectorAll('#groups-of-gene .hollow').length") == hollow


class TestStability:
    def test_the_curve_falls_and_a_gene_has_its_change(self, browser, page, result):
        browser.show(page)
        curve = points_of(browser, "stability")
        assert len(curve) == 4
        assert (np.diff(curve[:, 1]) > 0).all()  # downwards on the screen
        rows = pq.read_table(result / "stability.parquet").to_pylist()
        change = next(row["change_halves"] for row in rows if row["gene"] == GENE)
        ask_for(browser, GENE)
        browser.press("Enter")
        assert f"change with half of the sources {change * 100:.2g} %" in " ".join(browser.text("#gene-facts").split())


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", WIDTHS)
    def test_fits_every_width_and_draws_every_figure(self, browser, page, width, scheme):
        browser.show(page, width, scheme=scheme)
        assert browser.value("document.documentElement.scrollWidth") <= width
        for plot in PLOTS:
            drawn = browser.value(
                f"(() => {{ const svg = document.querySelector('#plot-{plot} svg');"
                "return [svg.getBoundingClientRect().width, svg.childElementCount, svg.outerHTML.includes('NaN')]; })()"
            )
            assert 0 < drawn[0] <= width, plot
            assert drawn[1] > 8, plot
            assert not drawn[2], plot

    def test_a_figure_follows_the_width(self, browser, page):
        browser.show(page, 1280)
        browser.call("Emulation.setDeviceMetricsOverride", width=375, height=800, deviceScaleFactor=1, mobile=False)
        browser.wait("document.querySelector('#plot-detection svg').getBoundingClientRect().width <= 375")
        assert browser.value("document.documentElement.scrollWidth") <= 375

    @pytest.mark.parametrize("width", WIDTHS)
    def test_text_of_axes_does_not_overlap_or_leave_the_window(self, browser, page, width):
        browser.show(page, width)
        assert browser.value(CLASHES) == []

    def test_colours_follow_the_scheme_and_stay_readable(self, browser, page):
        grounds = set()
        for scheme in ("light", "dark"):
            browser.show(page, scheme=scheme)
            colours = browser.value(
                "['body', '.note', 'nav a', '.apart']"
                ".map((name) => getComputedStyle(document.querySelector(name)).color)"
            )
            ground = browser.value("getComputedStyle(document.body).backgroundColor")
            grounds.add(ground)
            assert all(contrast(colour, ground) >= 4.5 for colour in colours), (scheme, colours, ground)
        assert len(grounds) == 2

    def test_points_take_the_new_colour_when_the_scheme_changes(self, browser, page):
        browser.show(page, scheme="light")
        before = browser.value("document.querySelector('#plot-spread canvas').toDataURL()")
        browser.scheme("dark")
        browser.wait(f"document.querySelector('#plot-spread canvas').toDataURL() !== {json.dumps(before)}")

    def test_every_figure_and_table_says_what_it_is(self, browser, page):
        browser.show(page)
        unnamed = browser.value(
            "[...document.querySelectorAll('[role=img], [role=region], [role=listbox]')]"
            ".filter((each) => !each.getAttribute('aria-label')).length"
        )
        assert unnamed == 0
        assert browser.value("document.querySelectorAll('h1').length") == 1
        heads = browser.value("[...document.querySelectorAll('th')].filter((head) => !head.scope).length")
        assert heads == 0


class TestHostileNames:
    def test_are_shown_and_never_run(self, browser, tmp_path):
        values = {HOSTILE: [1.0, 2.0, 3.0], **some_values(20)}
        rows = [group_row(1.0, **{HOSTILE: HOSTILE}, apart=True), group_row(2.0, **{HOSTILE: None})]
        write(
            tmp_path / "result",
            values,
            names=(HOSTILE, "b"),
            failures=[(HOSTILE, HOSTILE)],
            warnings=[HOSTILE],
            groups=rows,
        )
        write_report(str(tmp_path / "result"))
        browser.show(tmp_path / "result" / "report.html", 375)
        assert HOSTILE in browser.text("#warnings")
        assert HOSTILE in browser.text("#sources")
        assert browser.text("#together").count(HOSTILE) == 4  # the column twice, the group in a list and a table
        ask_for(browser, "</SCRIPT>")
        assert HOSTILE in browser.text("#gene-list [role=option]")
        browser.press("Enter")
        assert browser.text("#gene-label") == HOSTILE
        assert browser.text("#groups-of-gene th") == HOSTILE
        assert browser.value("document.querySelectorAll('b[onclick]').length") == 0
        assert browser.value("document.documentElement.scrollWidth") <= 375


class TestOddResults:
    @pytest.mark.parametrize(
        "values",
        [
            {"A": []},
            {"A": [2.0]},
            {"A": [2.0, 2.0, 2.0]},
            {"A": [2.0] * 5_000, "B": [1e-9, 1e9]},
            {"A": np.arange(1.0, 400.0)},
        ],
        ids=["nothing detected", "one value", "equal values", "far apart", "one gene"],
    )
    @pytest.mark.parametrize("exact", [True, False])
    def test_are_drawn_without_complaint(self, browser, tmp_path, values, exact):
        write(tmp_path / "result", values, exact=exact)
        browser.show(tmp_path / "result" / "report.html", 375)
        assert not browser.value("document.querySelector('main').outerHTML.includes('NaN')")
        assert browser.value("document.documentElement.scrollWidth") <= 375
        assert browser.value(CLASHES) == []
        assert browser.value("document.getElementById('gene-shown').hidden") == (not len(values["A"]))


def contrast(one, other):
    """Return the contrast ratio of WCAG 2 between two colours, as browsers write them."""
    lights = sorted(_luminance(colour) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour):
    parts = np.array([int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
