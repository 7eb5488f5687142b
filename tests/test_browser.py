"""The interactive page in a real browser: every page opens without an error, and everything that it offers is done.

The browser is Chromium, installed where it is missing and that is allowed; elsewhere these tests are skipped. Each
interaction is looked at: it must change the picture. With GANGRAPH_SCREENSHOTS=FOLDER the pictures are kept there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import GALLERY, HOSTILE, facts

from gangraph.compiler import load
from gangraph.page import find_facts, print_page
from gangraph.page.serve import Watch, serving

api = pytest.importorskip("playwright.sync_api", reason="the package playwright, of the extra `dev`, is not installed")
pytestmark = pytest.mark.xdist_group("page")  # one worker makes the pages, and has the browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SYSTEM = "stargan-v2"
IN_CANVAS = """(selector) => {
  const [a, b] = [selector, '#canvas'].map((s) => document.querySelector(s).getBoundingClientRect());
  return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom;
}"""


def found() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


def installed() -> str:
    """The path of a Chromium; skips where there is none and none can be had."""
    if found() is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "chromium", "chromium-driver"]):
            subprocess.run(["apt-get", "-q", *command], capture_output=True, timeout=400, check=False)
    path = found()
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium chromium-driver, as root")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = installed()
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


class Window:
    """A page that is open, with what the browser has complained of."""

    def __init__(self, context: Any):
        self.page = context.new_page()
        self.complaints: list[str] = []
        self.seen = b""
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: Path) -> Any:
        self.page.goto(path.as_uri())
        return self.page

    def look(self, name: str) -> None:
        """A picture of the page, which must differ from the one before."""
        picture = self.page.screenshot(animations="disabled")
        assert picture != self.seen
        self.seen = picture
        if folder := os.environ.get("GANGRAPH_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{name}.png").write_bytes(picture)

    def lit(self, pane: str, kind: str = "pointed") -> list[str]:
        """The lines of a text that are lit, as they can be seen."""
        return [line.strip() for line in self.page.locator(f"#{pane} .l.{kind}").all_text_contents()]

    def in_view(self, selector: str) -> bool:
        """Whether the first of some elements stands inside its pane."""
        return bool(
            self.page.locator(selector).first.evaluate(
                "e => { const a = e.getBoundingClientRect(), b = e.closest('.pane').getBoundingClientRect();"
                " return a.top >= b.top && a.bottom <= b.bottom + 1 }"
            )
        )

    def facts(self) -> dict[str, str]:
        """What the card says."""
        labels, said = (self.page.locator(f"#card {tag}").all_text_contents() for tag in ("dt", "dd"))
        return dict(zip(labels, said, strict=True))

    def opacity(self, selector: str) -> float:
        return float(self.page.locator(selector).first.evaluate("e => getComputedStyle(e).opacity"))


@pytest.fixture(scope="module")
def plain(chromium: Any) -> Iterator[Window]:
    """One window for all pages that are only opened."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    yield Window(context)
    context.close()


@pytest.fixture
def window(chromium: Any) -> Iterator[Window]:
    """A window of its own, in which nothing may go wrong."""
    context = chromium.new_context(
        viewport={"width": 1500, "height": 950}, color_scheme="light", reduced_motion="reduce"
    )
    made = Window(context)
    yield made
    context.close()
    assert made.complaints == []


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that the interactions are tried on."""
    path = tmp_path_factory.mktemp("page") / f"{SYSTEM}.html"
    path.write_text(print_page(find_facts(load(SYSTEM, tiny=True), shuffles=30)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", GALLERY)
def test_a_page_of_the_gallery_opens_without_an_error(name: str, plain: Window, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.html"
    path.write_text(print_page(facts(name)), encoding="utf-8")
    page = plain.open(path)
    page.keyboard.press("n")
    assert page.locator("#card h2").text_content()
    assert page.locator("#picture .lit").count() > 0
    assert page.locator("#picture").bounding_box()["width"] > 300
    assert plain.complaints == []


# --- the diagram


def viewed(page: Any) -> list[float]:
    return [float(n) for n in page.locator("#picture").get_attribute("viewBox").split()]


def test_the_diagram_pans_and_zooms(window: Window, written: Path) -> None:
    page = window.open(written)
    whole, original = viewed(page), page.locator("#picture").get_attribute("viewBox")
    window.look("whole")
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 3, box["y"] + box["height"] / 3
    at = "([x, y]) => { const m = document.querySelector('#picture').getScreenCTM().inverse();"
    at += " const p = new DOMPoint(x, y).matrixTransform(m); return [p.x, p.y] }"
    before = page.evaluate(at, [x, y])
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    api.expect(page.locator("#picture")).not_to_have_attribute("viewBox", original)
    assert page.evaluate(at, [x, y]) == pytest.approx(before, abs=0.6)  # what is under the pointer stays there
    window.look("zoomed")
    near = viewed(page)
    page.mouse.down()
    page.mouse.move(x + 120, y + 40, steps=4)
    page.mouse.up()
    assert viewed(page)[0] < near[0] and viewed(page)[1] < near[1] and viewed(page)[2:] == near[2:]
    assert page.locator("#card").text_content() == ""  # a pull is no click
    window.look("moved")
    page.keyboard.press("0")
    assert viewed(page) == pytest.approx(whole)
    page.click("[data-zoom=in]")
    assert viewed(page)[2] == pytest.approx(whole[2] / 1.3, rel=1e-3)
    page.click("[data-zoom=fit]")
    page.keyboard.press("-")
    assert viewed(page)[2] == pytest.approx(whole[2] * 1.3, rel=1e-3)
    page.focus("#canvas")
    page.keyboard.press("ArrowRight")
    assert viewed(page)[0] > whole[0] - whole[2] * 0.15


def test_a_network_shows_its_layers(window: Window, written: Path) -> None:
    page = window.open(written)
    window.look("before")
    page.click("#p1-n0")
    assert page.locator("#card h2").text_content() == "G network"
    assert window.facts()["computes"].startswith("fake[latent], fake[reference]")
    layers = page.locator("#card tbody tr")
    assert layers.count() > 20 and "Conv2d(8, 3, padding=1)" in layers.first.text_content()
    assert page.locator("#picture .node.chosen").count() == 3  # its three calls
    assert window.in_view("#spec .l.lit") and window.lit("spec", "lit") == ["G: stargan2_generator(width, most, C)"]
    assert any("class Stargan2Generator" in line for line in window.lit("program", "lit"))
    window.look("network")


def test_a_value_shows_its_shape_its_type_and_who_computes_it(window: Window, written: Path) -> None:
    page = window.open(written)
    page.click("#picture .node:has(text:text-is('fake[via]'))")
    assert page.locator(".members button").all_text_contents() == ["fake[latent]", "fake[reference]"]
    said = window.facts()
    assert (said["shape"], said["type"], said["computed by"]) == ("N × 3 × 32 × 32", "real numbers", "G of maker")
    window.look("value")
    page.click(".members button >> nth=1")
    assert window.facts()["computed in"] == "D_reference (no gradient), G_reference (gradient)"
    page.click("#card .link:text-is('s[reference]')")  # a link leads on
    assert page.locator("#card h2").text_content() == "s[reference] value"
    window.look("link")


def test_a_loss_shows_its_formula_and_who_minimizes_it(window: Window, written: Path) -> None:
    page = window.open(written)
    page.click("#picture .node:has(text:text-matches('^.{2}R1$'))")  # behind its glyph
    assert page.locator("#card h2").text_content() == "R1 loss"
    assert window.facts()["minimized by"].startswith("critic in D_latent, times r1")
    assert page.locator("#card math").bounding_box()["width"] > 100
    window.look("loss")
    page.click("#picture [id$=-s_generator]")
    assert window.facts()["minimized by"] == "maker in G_latent"
    window.look("side")


def test_a_player_lights_up_its_gradient_and_dims_the_rest(window: Window, written: Path) -> None:
    page = window.open(written)
    window.look("before")
    page.click("#players button:has-text('maker')")
    assert window.opacity(".node:has(text:text-is('fake[via]'))") == 1
    assert window.opacity(".node:has(text:text-is('d_real'))") < 0.3
    assert page.locator(".node.frozen").count() == 1  # the gradient passes D, which is not trained
    assert page.locator("#players button[aria-pressed=true]").text_content().split() == ["●", "maker"]
    window.look("player")
    page.click("#p0 text >> nth=0")  # the head of the other's table
    assert page.locator("#card h2").text_content() == "critic player"
    page.keyboard.press("1")  # once more lets go
    assert window.opacity(".node:has(text:text-is('d_real'))") == 1
    window.look("after")


def test_an_iteration_is_walked_through(window: Window, written: Path) -> None:
    page = window.open(written)
    seen = []
    for moment in ("forward", "gradient", "update"):
        page.keyboard.press("n")
        window.look(f"step-{moment}")
        assert page.locator("#card h2").text_content() == f"D_latent {moment}"
        assert page.locator("#walk [aria-pressed=true]").all_text_contents() == [moment]
        assert window.in_view("#program .l.lit") and window.in_view("#spec .l.lit")
        seen.append((window.lit("program", "lit")[0], page.locator("#picture .node.lit").count()))
    assert seen[0][0] == "def evaluate_D_latent(self, draws):"
    assert seen[1][0] == "objective = adv_latent_discriminator + self.r1 * R1"
    assert seen[2][0] == 'self.play("D_latent", self.evaluate_D_latent)'
    assert seen[0][1] > seen[1][1] > seen[2][1]
    page.keyboard.press("p")
    assert page.locator("#card h2").text_content() == "D_latent gradient"
    page.click("#walk [data-step='4']")
    assert window.facts() == {"averages follow": "G_ema, F_ema, E_ema"}
    page.click("#next")
    assert page.locator("#card h2").text_content() == "D_latent forward"  # round and round


# --- stages


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a system that grows through three stages."""
    path = tmp_path_factory.mktemp("page") / "stylegan.html"
    path.write_text(print_page(facts("stylegan")), encoding="utf-8")
    return path


def test_a_stage_is_chosen(window: Window, staged: Path) -> None:
    page = window.open(staged)
    fake = "#picture .node[aria-label='value fake']"
    assert page.locator("#stage").input_value() == "full" and "3×32×32" in page.locator(fake).text_content()
    window.look("stage-last")
    page.select_option("#stage", "size8")
    assert "3×8×8" in page.locator(fake).text_content()
    assert page.locator("#overview dd").first.text_content() == "size8, 1 of 3"
    window.look("stage-first")
    page.click(fake)
    assert window.facts()["shape"] == "N × 3 × 8 × 8"
    page.keyboard.press("s")  # the next: what was chosen is so still
    assert page.locator("#stage").input_value() == "size[4]"
    assert window.facts()["shape"] == "N × 3 × 16 × 16" and page.locator("#picture .chosen").count() == 1
    page.keyboard.press("S")
    page.keyboard.press("S")  # before the first is none
    assert page.locator("#stage").input_value() == "size8" and window.facts()["shape"] == "N × 3 × 8 × 8"


def test_every_stage_is_walked_through_and_lit(window: Window, staged: Path) -> None:
    page = window.open(staged)
    window.look("stage-before")
    for stage, suffix in (("size8", "_size8"), ("size[4]", "_size_4"), ("full", "_full")):
        page.select_option("#stage", stage)
        page.keyboard.press("Escape")
        page.click("#steps [data-step='0'][data-moment='0']")
        assert window.lit("program", "lit")[0] == f"def evaluate_critic{suffix}(self, draws):"
        assert window.in_view("#program .l.lit") and page.locator("#program .l.lit.elsewhere").count() == 0
        page.click("#players button:has-text('generator')")
        assert page.locator("#picture .lit").count() > 5
        page.hover("#spec .l:has-text('fake: g(w, noise)')")
        lines = window.lit("program")
        assert sum(line.startswith("fake = self.g") for line in lines) == 2  # once for each player, of one stage
        window.look(f"stage{suffix}")
    page.select_option("#stage", "size8")  # the player is lit in the other stage too
    assert page.locator("#players [aria-pressed=true]").text_content().split() == ["●", "generator"]
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.keyboard.press("n")
    page.keyboard.press("s")
    assert page.locator("#card h2").text_content() == "critic gradient"
    assert window.lit("program", "lit")[0].startswith("objective = ")


def test_a_stage_is_kept_searched_for_and_printed(window: Window, staged: Path) -> None:
    page = window.open(staged)
    page.fill("#search", "size[4]")
    page.keyboard.press("Enter")
    assert page.locator("#stage").input_value() == "size[4]"
    page.click("[data-zoom=in]")
    kept = viewed(page)
    page.reload()
    assert page.locator("#stage").input_value() == "size[4]" and viewed(page) == pytest.approx(kept)
    window.look("stage-kept")
    page.keyboard.press("s")
    assert viewed(page) == pytest.approx(kept)  # the same place in the other diagram
    page.focus("#stage")
    page.keyboard.press("n")  # a key for the list, not for the page
    assert page.locator("#card").text_content() == ""
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#stage").is_visible() and page.locator("#picture").is_visible()
    assert viewed(page)[0] == 0


# --- the texts


def test_pointing_at_a_line_lights_its_counterparts(window: Window, written: Path) -> None:
    page = window.open(written)
    window.look("before")
    page.hover("#spec .l:has-text('fake[via]: G(x, s[via])')")
    page.wait_for_selector("#program .l.pointed")
    lines = window.lit("program")
    assert len(lines) == 4 and all(re.match(r"fake_(latent|reference) = self\.G\(x, s_", line) for line in lines)
    assert window.in_view("#program .l.pointed")
    assert page.locator("#picture .node.pointed").count() == 1
    window.look("point-spec")
    page.hover("#program .l:has-text('style_latent = (') >> nth=0", position={"x": 400, "y": 5})
    assert window.lit("spec") == ["style[via]: expect(l1(E(fake[via], y_trg), s[via]))"]
    assert window.in_view("#spec .l.pointed")
    window.look("point-program")
    page.hover("#program .l:has-text('style_latent = (') >> nth=0 >> .name:text-is('E_out2')")
    assert page.locator("#picture .node.pointed").text_content().split()[-1] == "8"  # the call in place
    page.hover("#picture .node:has(text:text-is('rec[via]'))")
    assert window.lit("spec") == ["rec[via]: G(fake[via], E(x, y))"]
    assert page.locator("#picture .edge.near").count() == 3
    window.look("point-diagram")
    page.mouse.move(5, 5)
    assert window.lit("spec") == window.lit("program") == []


# --- search, equations, keys


def test_search_finds_names_facts_and_lines(window: Window, written: Path) -> None:
    page = window.open(written)
    page.keyboard.press("/")
    page.keyboard.type("cyc")
    hits = page.locator("#found li")
    assert hits.first.text_content() == "constantcyc" and hits.count() > 5
    window.look("search")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#card h2").text_content() == "cycle[latent] loss"
    page.fill("#search", "critic")
    page.keyboard.press("Enter")
    assert page.locator("#players [aria-pressed=true]").count() == 1
    page.fill("#search", "cycle")
    page.keyboard.press("Enter")
    assert page.locator("#picture .chosen").count() == 1
    page.keyboard.press("/")
    page.fill("#search", "torch.no_grad")
    page.keyboard.press("Enter")
    assert page.locator("#program .l.here").text_content().strip() == "@torch.no_grad()"
    page.fill("#search", "nothing of the kind")
    assert hits.all_text_contents() == ["nothing found"]
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()
    window.look("searched")


def test_the_equations_are_there(window: Window, written: Path) -> None:
    page = window.open(written)
    window.look("before")
    page.keyboard.press("e")
    assert page.locator("#equations").is_visible() and page.locator("#details").is_hidden()
    formulas = page.locator("#equations .formula math")
    assert formulas.count() > 8
    assert all(formulas.nth(i).bounding_box()["height"] > 10 for i in range(formulas.count()))
    ends = (
        "rows => rows.map(row => [...row.firstElementChild.querySelectorAll('*')].pop().getBoundingClientRect().right)"
    )
    for section in page.locator("#equations section:has(mtr + mtr)").all():  # their relations stand below one another
        rights = section.locator("mtr:has(mtd:first-child *)").evaluate_all(ends)
        assert max(rights) - min(rights) < 1
    window.look("equations")
    page.click("#tab-details")
    assert page.locator("#details").is_visible()


def test_everything_can_be_done_with_the_keyboard(window: Window, written: Path) -> None:
    page = window.open(written)
    page.focus("#canvas")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('role')") == "button"
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    kind, _, name = label.split(",")[0].partition(" ")
    assert page.locator("#card h2").text_content() == f"{name} {kind}"
    window.look("keyboard")
    page.keyboard.press("Escape")
    assert page.locator("#card").text_content() == ""
    page.focus("#spec")
    for _ in range(22):
        page.keyboard.press("ArrowDown")
    assert window.lit("spec") == ["x: image(C, H, W)"] and "x = self.input" in window.lit("program")[0]
    page.keyboard.press("Enter")
    assert page.locator("#card h2").text_content() == "x input"
    window.look("keyboard-line")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    window.look("help")
    page.keyboard.press("Escape")
    page.focus("#split-side")
    before = page.locator("aside").bounding_box()["width"]
    page.keyboard.press("ArrowLeft")
    assert page.locator("aside").bounding_box()["width"] == pytest.approx(before + 24, abs=1)


# --- light, dark, paper


CONTRASTS = """() => {
  const light = (c) => {
    const linear = (n) => (n <= 0.04 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map((n) => linear(n / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const around = (a, b) =>
    a.left <= b.left + 1 && a.right >= b.right - 1 && a.top <= b.top + 3 && a.bottom >= b.bottom - 3;
  const found = [];
  for (const node of document.querySelectorAll('#picture .node')) {
    const shapes = [];
    for (const e of node.querySelectorAll('polygon, path, ellipse, text')) {
      const fill = getComputedStyle(e).fill;
      if (e.tagName !== 'text') { if (fill !== 'none') shapes.push([e.getBoundingClientRect(), fill]); continue; }
      if (!e.textContent.trim()) continue;
      const under = shapes.filter(([box]) => around(box, e.getBoundingClientRect())).pop();
      if (!under) { found.push([0, e.textContent]); continue; }
      const [a, b] = [light(fill), light(under[1])].sort((x, y) => y - x);
      found.push([(a + 0.05) / (b + 0.05), e.textContent]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_diagram_can_be_read(scheme: str, window: Window, written: Path) -> None:
    """By the measure of the Web Content Accessibility Guidelines: 4.5, and 3 for the bold heads of tables."""
    page = window.open(written)
    page.emulate_media(color_scheme=scheme)
    window.look(scheme)
    found = page.evaluate(CONTRASTS)
    assert len(found) > 60
    heads = {"▲ critic", "● maker"}
    assert [(ratio, text) for ratio, text in found if ratio < (3 if text in heads else 4.5)] == []


def test_light_and_dark_are_switched_and_kept(window: Window, written: Path) -> None:
    page = window.open(written)
    ground = "getComputedStyle(document.body).backgroundColor"
    window.look("light")
    light = page.evaluate(ground)
    page.keyboard.press("t")
    dark = page.evaluate(ground)
    assert light == "rgb(255, 255, 255)" and dark == "rgb(22, 25, 29)"
    window.look("dark")
    page.reload()
    assert page.evaluate(ground) == dark
    page.click("#theme")
    assert page.evaluate(ground) == light


def test_a_print_has_the_whole_diagram_the_equations_and_both_texts(window: Window, written: Path) -> None:
    page = window.open(written)
    whole = viewed(page)
    page.click("[data-zoom=in]")
    window.look("screen")
    assert page.pdf(format="A4", landscape=True).startswith(b"%PDF")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert viewed(page) == pytest.approx(whole)
    for selector in ("#picture", "#equations math", "#spec .l >> nth=60", "#program .l >> nth=900"):
        assert page.locator(selector).first.is_visible(), selector
    for selector in ("header button", "#walk", "#zoom", "[role=tab]", "#search"):
        assert not page.locator(selector).first.is_visible(), selector
    assert (
        page.evaluate(
            "document.querySelector('#program').scrollHeight - document.querySelector('#program').clientHeight"
        )
        < 2
    )
    window.look("print")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert viewed(page) != pytest.approx(whole)


# --- what nobody should meet


def test_no_text_of_a_spec_runs(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(print_page(find_facts(load(HOSTILE), shuffles=1)), encoding="utf-8")
    page = window.open(path)
    for key in "nnnnnne":
        page.keyboard.press(key)
    page.keyboard.press("/")
    page.keyboard.type("<script>")
    window.look("hostile")
    page.keyboard.press("Enter")
    page.click("#picture .node:has(text:text-is('constructor'))")
    assert page.locator("#card h2").text_content() == "constructor value"
    assert page.evaluate("window.bad") is None
    assert page.locator("script").count() == 2 and page.locator("img, iframe, object").count() == 0
    assert page.locator("header p").text_content().startswith("</title></script><script>window.bad = 1</script>")


def test_a_script_that_got_in_would_not_run(window: Window, written: Path) -> None:
    """The policy of the page is a second wall behind the escaping."""
    page = window.open(written)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}));"
        "document.body.insertAdjacentHTML('beforeend', '<b onclick=\"window.bad = 1\" style=\"color: red\">x</b>');"
        "document.querySelector('b[onclick]').click()"
    )
    assert page.evaluate("window.bad") is None
    refused = [complaint for complaint in window.complaints if "Content Security Policy" in complaint]
    assert len(refused) == len(window.complaints) >= 3
    window.complaints.clear()


LONG = """\
gangraph: 1
name: long
sizes: {{n: 4}}
inputs: {{x: vector(n)}}
draws: {{z: normal(n)}}
networks:
  G: mlp([8, n])
  F: mlp([8, n])
graph:
{graph}
losses:
{losses}
players:
  P: {{networks: [G, F], optimizer: Adam(lr=1e-3)}}
schedule:
  P: {total}
train: {{batch: 4}}
"""


def long_spec(values: int, wide: int = 30) -> str:
    """A spec with so many named values in layers: each is made of one or two of the layer before."""
    made = []
    for i in range(values):
        above, beside = i - wide, i - wide + (1 if i % wide < wide - 1 else 0)
        text = "G(z)" if i < wide else f"F(v{above})" if i % 4 == 0 else f"0.5 * v{above} + 0.5 * v{beside}"
        made.append(f"  v{i}: {text}")
    losses = [f"  near{i}: expect(l2(v{i}, x))" for i in range(values - wide, values)]
    total = " + ".join(line.split(":")[0].strip() for line in losses)
    return LONG.format(graph="\n".join(made), losses="\n".join(losses), total=total)


def test_a_page_holds_for_three_hundred_values(window: Window, tmp_path: Path) -> None:
    source, path = tmp_path / "long.yaml", tmp_path / "long.html"
    source.write_text(long_spec(300), encoding="utf-8")
    started = time.perf_counter()
    path.write_text(print_page(find_facts(load(source))), encoding="utf-8")
    built = time.perf_counter() - started
    page = window.open(path)
    opened = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000
    assert page.locator("#picture .node").count() > 300
    window.look("long")
    started = time.perf_counter()
    page.fill("#search", "v150")
    page.keyboard.press("Enter")
    assert page.locator("#card h2").text_content() == "v150 value"
    assert window.in_view("#spec .l.lit") and window.in_view("#program .l.lit")
    assert page.evaluate(IN_CANVAS, "#picture .chosen")
    assert viewed(page)[0] >= 0  # and no blank beside it
    page.keyboard.press("1")
    page.keyboard.press("n")
    acted = time.perf_counter() - started
    window.look("long-step")
    print(f"built in {built:.1f} s, opened in {opened:.2f} s, searched, lit and stepped in {acted:.2f} s")
    assert built < 60 and opened < 10 and acted < 10


# --- a file that is being written


def test_a_watched_page_follows_its_file(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    good = "gangraph: 1\nname: mine\nextends: gan\ngraph:\n  fake: G(z)\n"
    path.write_text(good, encoding="utf-8")
    watch = Watch(lambda: load(path, tiny=True), path)

    def save(text: str) -> None:
        path.write_text(text, encoding="utf-8")
        watch.look()

    with serving(watch) as address:
        page = window.page
        page.goto(address)
        page.click("#picture .node:has(text:text-is('fake'))")
        page.click("[data-zoom=in]")
        page.keyboard.press("t")
        kept = viewed(page)
        window.look("watched")
        save(good.replace("G(z)", "2 * G(z)"))
        page.wait_for_selector("#picture text:has-text('2 * G(z)')")
        assert page.locator("#card h2").text_content() == "fake value"  # what was chosen, and where one looked
        assert viewed(page)[2:] == pytest.approx(kept[2:], rel=1e-2)
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        window.look("watched-saved")
        save(good.replace("G(z)", "G(zz)"))
        page.wait_for_selector("#problems")
        assert "mine.yaml:5:11 graph.fake: nothing is called 'zz' here" in page.locator("#problems li").text_content()
        assert page.locator("#spec .l.wrong").text_content() == "  fake: G(zz)"
        assert page.locator("#spec .problem").text_content().startswith("nothing is called 'zz' here")
        assert page.locator("#picture .node").count() > 5  # the last good picture
        window.look("watched-wrong")
        save(good)
        page.wait_for_selector("#problems", state="detached")
        window.look("watched-mended")
        page.goto("about:blank")


def test_a_page_says_that_nobody_serves_it_any_more(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gangraph: 1\nname: mine\nextends: gan\n", encoding="utf-8")
    page = window.page
    with serving(Watch(lambda: load(path, tiny=True), path)) as address:
        page.route("**/events*", lambda route: route.abort())
        page.goto(address)
        page.wait_for_selector("body.alone")
        window.look("watched-alone")
        page.unroute("**/events*")
        page.wait_for_selector("body:not(.alone)")  # it is tried again
        page.goto("about:blank")
    window.complaints.clear()  # of the connection that failed


def test_a_page_of_a_spec_that_was_never_right_shows_the_problems(window: Window, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("gangraph: 1\nname: x\ngrahp: {}\n", encoding="utf-8")
    watch = Watch(lambda: load(path), path)
    with serving(watch) as address:
        window.page.goto(address)
        assert window.page.locator("#problems li").count() >= 1
        assert window.page.locator("#spec .l.wrong").first.is_visible()
        window.look("never-right")
        window.page.goto("about:blank")
