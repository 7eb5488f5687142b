"""The interactive page: what it says agrees with the compiler, and a text of a spec is never markup."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pages import GALLERY, HOSTILE, facts, spec, stage

from gangraph import _paths
from gangraph.__main__ import main
from gangraph.code import identifier
from gangraph.compiler import load
from gangraph.draw import draw
from gangraph.equations.formats import mathml
from gangraph.errors import RunError, SpecError
from gangraph.page import find_facts, print_page
from gangraph.page.facts import Stage
from gangraph.page.html import ALLOWED, MATHML, SVG, parsed
from gangraph.page.names import Link, phase_key
from gangraph.page.serve import Watch, serving
from gangraph.page.texts import Text

pytestmark = pytest.mark.xdist_group("page")  # one worker makes the pages


def rows(name: str, key: str) -> dict[str, str]:
    """What is said of a thing, as text."""
    return {label: plain(parts) for label, parts in stage(name).things[key].rows}


def plain(parts: tuple[str | Link, ...]) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def declared(text: Text, key: str) -> list[str]:
    """The lines that declare a thing."""
    return [line for r in text.regions if key in r.keys for line in text.lines[r.first - 1 : r.last]]


def elsewhere(found: Stage, line: int) -> bool:
    """Whether only another stage runs a line of the program."""
    return any(first <= line <= last for first, last in found.elsewhere)


def run_in(name: str, number: int, key: str) -> list[str]:
    """The lines of the program that declare a thing, of those that a stage may run."""
    text, found = facts(name).program, facts(name).stages[number]
    regions = [r for r in text.regions if key in r.keys and not elsewhere(found, r.first)]
    return [line for r in regions for line in text.lines[r.first - 1 : r.last]]


def ids(svg: str) -> set[str]:
    return set(re.findall(r' id="([^"]*)"', svg))


def test_the_gallery_is_there() -> None:
    assert len(GALLERY) > 35


# --- facts


@pytest.mark.parametrize("name", GALLERY)
def test_every_link_and_every_light_has_its_end(name: str) -> None:
    for found in facts(name).stages:
        drawn = ids(found.svg)
        said = [row for thing in found.things.values() for row in thing.rows]
        said += [row for stop in found.steps for moment in stop.moments for row in moment.rows]
        links = [part for _, parts in [*said, *found.rows] for part in parts if isinstance(part, Link)]
        assert links and all(key in found.things for link in links for key in link.keys)
        lights = [mark for stop in found.steps for moment in stop.moments for mark in moment.lights]
        lights += [mark for _, lit in found.players for mark in lit]
        assert lights and {*lights, *found.marks, *(m for t in found.things.values() for m in t.marks)} <= drawn
        assert all(keys and set(keys) <= set(found.things) for keys in found.marks.values())


@pytest.mark.parametrize("name", GALLERY)
def test_every_box_of_the_diagram_stands_for_something(name: str) -> None:
    for found in facts(name).stages:
        nodes = re.findall(r'<g id="(\w+)" class="node"', found.svg)
        assert nodes and set(nodes) - {"rest"} <= set(found.marks)


@pytest.mark.parametrize("name", GALLERY)
def test_what_a_spec_declares_has_lines_in_both_texts(name: str) -> None:
    """A name of the spec stands in the lines that declare it; what a phase computes has its statement."""
    found = facts(name)
    for number, (graph, plan) in enumerate(zip(spec(name).graphs, spec(name).schedules, strict=True)):
        for key in (*graph.values, *graph.losses, *graph.networks, *graph.inputs):
            family = re.split(r"[\[.]", key)[0]
            lines = [line for text in found.spec for line in declared(text, key)]
            assert lines and any(family in line for line in lines), key
        computed = {n.name for e in plan.evaluations.values() for n in e.nodes if n.name}
        for key in computed & {*graph.values, *graph.losses, *graph.inputs}:
            word = identifier(key.replace(".", "_"))
            lines = run_in(name, number, key)
            assert lines and any(re.search(rf"\b{word}\b", line) for line in lines), key
        for key in graph.networks:
            assert run_in(name, number, key), key


@pytest.mark.parametrize("name", GALLERY)
def test_every_phase_is_a_stop_with_its_function(name: str) -> None:
    program = facts(name).program
    for found, graph in zip(facts(name).stages, spec(name).graphs, strict=True):
        stops = [stop for stop in found.steps if len(stop.moments) == 3]
        assert [stop.name for stop in stops] == [step.name for step in graph.steps() if step.phases]
        for stop in stops:
            assert all(moment.lines and moment.lights and moment.keys for moment in stop.moments)
            first = program.lines[stop.moments[0].lines[0] - 1]
            assert f"def evaluate_{identifier(stop.name)}" in first
            assert any("self.play(" in program.lines[n - 1] for n in stop.moments[2].lines)
            assert not any(elsewhere(found, n) for moment in stop.moments for n in moment.lines)
        for phase in graph.phases():
            assert any(phase_key(phase.name) in m.keys for stop in found.steps for m in stop.moments)


def test_a_value_says_its_shape_its_type_and_who_computes_it() -> None:
    said = rows("stargan-v2", "fake[latent]")
    assert said["shape"] == "N × 3 × 32 × 32"
    assert said["type"] == "real numbers"
    assert said["computed by"] == "G of maker"
    assert said["computed in"] == "D_latent (no gradient), G_latent (gradient)"
    assert said["gradient of"] == "G_latent"
    assert said["made of"] == "x, s[latent]"


def test_a_loss_says_who_minimizes_it_and_has_its_equations() -> None:
    assert rows("stargan-v2", "R1")["minimized by"] == "critic in D_latent, times r1; critic in D_reference, times r1"
    (number,) = stage("stargan-v2").things["R1"].equations
    assert facts("stargan-v2").equations[number].title == "R1"
    assert rows("stargan-v2", "adv[latent]")["generator"] == "maker in G_latent"


def test_notes_of_equations_are_words_and_formulas() -> None:
    page = print_page(facts("cyclegan"))
    notes = re.findall(r"<li>(.*?)</li>", page)
    assert any("<math" in note and "is the number of entries of a sample" in note for note in notes), notes
    assert "Piece(" not in page


def test_a_phase_that_steps_several_times_has_its_equations() -> None:
    (phase,) = (t for t in stage("wgan").things.values() if t.kind == "phase" and t.name == "D")
    assert [facts("wgan").equations[number].title for number in phase.equations] == ["D, T times an iteration"]


def test_a_network_says_its_layers_and_its_owner() -> None:
    assert rows("stylegan", "D")["trained by"] == "critic"  # through its parts
    assert rows("stylegan", "D")["maps"] == "N × 3 × 32 × 32 → N × 1"  # in the last stage
    head, *layers = stage("stargan-v2").things["G"].layers
    assert head[0] == "layer" and any("Conv2d" in row[1] for row in layers)


def test_a_call_in_place_is_found_in_the_program() -> None:
    (key,) = (k for k, t in stage("stargan-v2").things.items() if t.name == "E(x, y)")
    lines = declared(facts("stargan-v2").program, key)
    assert [line.strip().split("  #")[0] for line in lines] == ["E_out = self.E(x, y)"] * 2


def test_the_gradient_of_a_player_lights_what_the_drawing_of_it_does() -> None:
    found = stage("stargan-v2")
    lit = {player.name: lights for player, lights in found.players}["maker"]
    svg = draw(spec("stargan-v2"), "svg", player="maker", quick=True)
    pale = {
        m[1]
        for m in re.finditer(r'<g id="(\w+)" class="edge">\s*<title>[^<]*</title>\s*<path[^>]*stroke-opacity', str(svg))
    }
    edges = {mark for mark in ids(found.svg) if re.fullmatch(r"e\d+", mark)}
    assert pale and {mark for mark in lit if mark in edges} == edges - pale
    assert sum("frozen" in how for how in lit.values()) == 1  # D(fake[via], y_trg)


def test_a_player_lights_no_row_of_a_loss_beside_its_path() -> None:
    found = stage("cross-domain-disentanglement")
    lights = {player.name: lit for player, lit in found.players}["D_ex[d]"]
    (other,), (own,) = found.things["adv[0]"].marks, found.things["adv_ex[0]"].marks
    assert own in lights and f"{own}-s_generator" in lights
    assert not [mark for mark in lights if mark.startswith(other)]


def test_a_step_says_what_is_held_and_what_has_a_gradient() -> None:
    translators, discriminators = stage("cyclegan").steps
    forward = {label: plain(parts) for label, parts in discriminators.moments[0].rows}
    assert forward["held from before"] == "fake_y, fake_x"
    assert forward["batch"] == "x, y"
    gradient = translators.moments[1].lights
    (box,) = stage("cyclegan").things["fake_y"].marks
    assert gradient[box] == "path c1" and box not in discriminators.moments[1].lights


def test_steps_say_when_they_run() -> None:
    notes = {stop.name: stop.note for stop in stage("drit").steps}
    assert notes["makers"] == "when epoch_step % 3 == 2" and notes["Dc"] == ""
    assert rows("biggan", "phase G")["runs"].startswith("the mean gradient of ")


# --- stages


def test_every_stage_says_what_it_is() -> None:
    first, *_, last = facts("stylegan").stages
    assert {label: plain(parts) for label, parts in last.rows} == {
        "stage": "full, 3 of 3",
        "runs for": "23,200,000 images",
        "batch": "4",
        "resets": "critic, generator",
    }
    assert dict(first.rows)["stage"] == ("size8, 1 of 3",) and "resets" not in dict(first.rows)
    assert stage("gan").name == "" and stage("gan").rows == ()
    fakes = [plain(dict(found.things["fake"].rows)["shape"]) for found in facts("stylegan").stages]
    assert fakes == ["N × 3 × 8 × 8", "N × 3 × 16 × 16", "N × 3 × 32 × 32"]


def test_a_stage_has_the_equations_that_hold_in_it(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        "gangraph: 1\nname: two\nextends: gan\nlosses: {extra: expect(mean(fake))}\nstages:\n"
        "  a: {iterations: 1}\n  b: {iterations: 1, losses: {extra: expect(sum(fake))}}\n"
        "schedule: {G: adv.generator + extra}\n",
        encoding="utf-8",
    )
    found = find_facts(load(path, tiny=True), shuffles=1)
    titles = [[found.equations[n].title for n in each.things["extra"].equations] for each in found.stages]
    assert titles == [["extra, in a"], ["extra, in b"]]


def test_stages_stand_alike_where_they_are_alike() -> None:
    for found in facts("stylegan").stages:
        assert set(found.marks) == set(stage("stylegan").marks) and found.edges == stage("stylegan").edges
        order = re.findall(r'<g id="(\w+)" class="(?:node|edge)"', found.svg)
        assert order == re.findall(r'<g id="(\w+)" class="(?:node|edge)"', stage("stylegan").svg)


def test_what_another_stage_runs_is_known() -> None:
    program, first = facts("stylegan").program, facts("stylegan").stages[0]
    heads = [program.lines[start - 1].strip() for start, _ in first.elsewhere]
    assert "def evaluate_critic_full(self, draws):" in heads and "def constants_size_4(self):" in heads
    assert not any("_size8" in head or "def iteration(self)" in head for head in heads)
    assert all(stage(name).elsewhere == () for name in ("gan", "stargan-v2"))


def test_a_method_that_ends_in_the_name_of_a_stage_is_not_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        "gangraph: 1\nname: two\nextends: gan\nschedule: {G: ~, G_b: {player: G, minimize: adv.generator}}\n"
        "stages: {a: {iterations: 1}, b: {iterations: 1}}\n",
        encoding="utf-8",
    )
    found = find_facts(load(path, tiny=True), shuffles=1)
    assert "    def evaluate_G_b(self, draws):" in found.program.lines
    assert [each.elsewhere for each in found.stages] == [(), ()]


# --- the file


class Reader(HTMLParser):
    """The elements of a page, with their attributes, and what stands in scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {}
        self.open = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open = tag

    def handle_endtag(self, tag: str) -> None:
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open in ("script", "style"):
            self.inside.setdefault(self.open, []).append(data)


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("name", ["stargan-v2", "stylegan"])
def test_a_page_is_one_file_whose_policy_allows_its_own_script_alone(name: str) -> None:
    page = Reader(print_page(facts(name)))
    (policy,) = (a["content"] or "" for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    data, script = page.inside["script"]
    (style,) = page.inside["style"]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "connect-src" not in policy
    assert digest(script) in policy and digest(style) in policy
    assert json.loads(data)["name"] == name
    addresses = [a[k] for _, a in page.elements for k in ("src", "href", "action", "xlink:href") if k in a]
    assert addresses == ["data:,"]
    assert "url(" not in style and "@import" not in style


def test_no_text_of_a_spec_is_markup_or_script() -> None:
    page = Reader(print_page(find_facts(load(HOSTILE), shuffles=1)))
    plain_page = Reader(print_page(facts("gan")))
    assert len(page.inside["script"]) == 2 and page.inside["script"][1] == plain_page.inside["script"][1]
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain_page.elements} | {*ALLOWED[MATHML][0].split()}
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on") or a == "style"]
    assert "<" not in page.inside["script"][0]


@pytest.mark.parametrize("name", GALLERY)
def test_what_our_own_printers_make_is_let_through(name: str) -> None:
    made = [(SVG, stage(name).svg), *((MATHML, mathml(s)) for s in facts(name).equations if s.equations)]
    for space, markup in made:
        whole, kept = ElementTree.fromstring(markup), parsed(markup, space)
        lost = {
            a for one, other in zip(whole.iter(), kept.iter(), strict=True) for a in set(one.attrib) - set(other.attrib)
        }
        assert lost <= ({"width", "height"} if space == SVG else set())
        assert [e.tag.partition("}")[2] for e in whole.iter()] == [e.tag for e in kept.iter()]


def test_nothing_else_is_let_through() -> None:
    hostile = (
        f'<svg xmlns="{SVG}"><script>bad()</script><g onclick="bad()" style="x" id="n0"><a href="x:y">t</a></g></svg>'
    )
    kept = ElementTree.tostring(parsed(hostile, SVG), encoding="unicode")
    assert kept == '<svg><g>bad()</g><g id="n0"><g>t</g></g></svg>'


def test_a_page_that_is_given_away_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("gangraph: 1\nname: mine\nextends: gan\n", encoding="utf-8")
    page = draw(tmp_path / "mine.yaml", "html", quick=True)
    assert str(tmp_path) not in page and str(_paths.specs()) not in page


# --- the commands


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(exit.value.code or 0), printed.out, printed.err


def test_draw_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "gan.html"
    assert run("draw", "gan", "--tiny", "-o", str(target), capsys=capsys) == (0, "", "")
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_page_has_every_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in (["--view", "weights"], ["--player", "G"], ["--stage", "a"]):
        code, _, err = run("draw", "gan", "-o", str(tmp_path / "gan.html"), *option, capsys=capsys)
        assert code == 1 and "a page has every view" in err


def test_a_page_that_cannot_be_written_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "gan.html"
    code, _, err = run("draw", "gan", "-o", str(target), capsys=capsys)
    assert code == 1 and err == f"{target}: cannot be written: Not a directory\n"


def test_view_writes_a_page_and_opens_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or len(opened) == 1)
    for times in (1, 2):
        code, out, err = run("view", "gan", "--tiny", capsys=capsys)
        path = Path(out.strip())
        assert code == 0 and opened[-1] == path.as_uri() and "<!DOCTYPE html>" in path.read_text(encoding="utf-8")
        assert err == ("" if times == 1 else "no browser was found: open it yourself\n")
        shutil.rmtree(path.parent)
    code, out, _ = run("view", "gan", "--tiny", "--no-browser", capsys=capsys)
    assert code == 0 and len(opened) == 2
    shutil.rmtree(Path(out.strip()).parent)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["gan", "--port", "8000"], 2, "--port goes with --watch"),
        (["gan", "--watch", "--port", "70000"], 2, "--port"),
        (["nope", "--watch"], 1, "no system of the gallery is called 'nope'"),
        (["nope.yaml", "--watch"], 1, "nope.yaml:1:1 no such file"),
        (["gan", "--watch", "--set", "depth=3"], 1, "not a size or constant"),
    ],
)
def test_view_refuses_in_one_message(
    options: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, out, err = run("view", "--no-browser", *options, capsys=capsys)
    assert found == code and message in err and out == ""


def test_view_watches_until_it_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gangraph: 1\nname: mine\nextends: gan\n", encoding="utf-8")
    command = [sys.executable, "-m", "gangraph", "view", str(path), "--tiny", "--watch", "--no-browser"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=_heed_interrupts) as process:  # type: ignore[call-overload]
        try:
            address = process.stdout.readline().strip()
            with urllib.request.urlopen(address, timeout=20) as answer:
                assert b'id="picture"' in answer.read()
            path.write_text("gangraph: 1\nname: mine\nextends: gann\n", encoding="utf-8")
            with urllib.request.urlopen(f"{address}events?1", timeout=20) as events:
                assert events.read() == b"data: 2\n\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
            assert process.stdout.read() == process.stderr.read().strip() == ""
        finally:
            process.kill()  # else a failure would wait for it


def _heed_interrupts() -> None:
    """In a child before it begins, for what is started in the background may be deaf to them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# --- the page of a file that is being written


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Watch, Path, Path]:
    """The watch of a spec, its file, and its parent's."""
    parent, child = tmp_path / "parent.yaml", tmp_path / "child.yaml"
    shutil.copy(_paths.specs() / "gan.yaml", parent)
    child.write_text("gangraph: 1\nname: child\nextends: parent.yaml\ngraph:\n  fake: G(z)\n", encoding="utf-8")
    return Watch(lambda: load(child, tiny=True), child), child, parent


def test_a_saved_spec_is_drawn_anew(watched: tuple[Watch, Path, Path]) -> None:
    watch, child, parent = watched
    assert watch.number == 1 and "child.yaml" in watch.page and "parent.yaml" in watch.page
    watch.look()
    assert watch.number == 1
    changed(child, "fake: G(z)", "fake: 2 * G(z)")
    watch.look()
    assert watch.number == 2 and "2 * G(z)" in watch.page
    changed(parent, "normal(Z)", "normal(Z, std=3)")
    watch.look()
    assert watch.number == 3 and "N(0, 9)" in watch.page
    (child.parent / "other.yaml").write_text("gangraph: 1\n", encoding="utf-8")
    watch.look()
    assert watch.number == 3  # another file, the same page


def test_a_wrong_spec_leaves_the_picture_and_says_where(watched: tuple[Watch, Path, Path]) -> None:
    watch, child, parent = watched
    changed(child, "G(z)", "G(zz)")
    watch.look()
    assert watch.number == 2 and 'id="picture"' in watch.page
    assert "1 problem; the picture is from before" in watch.page
    assert re.search(r'class="l wrong" data-n="5">.*zz.*</div>\s*<div class="problem">nothing is called', watch.page)
    changed(child, "G(zz)", "G(z)")
    changed(parent, "graph:", "grahp:")
    watch.look()
    assert watch.number == 3 and "grahp" in watch.page and "parent.yaml" in watch.page
    changed(parent, "grahp:", "graph:")
    watch.look()
    assert watch.number == 4 and "problem" not in re.sub(r"<(style|script).*?</\1>", "", watch.page, flags=re.DOTALL)


def test_a_spec_that_is_wrong_from_the_first_is_shown_with_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("gangraph: 1\nname: x\n<b>: 1\n", encoding="utf-8")
    watch = Watch(lambda: load(path), path)
    assert "problem" in watch.page and 'id="picture"' not in watch.page and "<b>:" not in watch.page
    path.write_bytes(b"\xff\xfe")
    watch.look()
    assert watch.number == 2 and "UTF-8" in watch.page
    path.unlink()
    watch.look()
    assert watch.number == 3 and "no such file" in watch.page


def test_a_spec_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such file"):
        Watch(lambda: load(tmp_path / "x.yaml"), tmp_path / "x.yaml")


def test_the_server_is_for_this_machine_and_says_when_the_page_is_another(watched: tuple[Watch, Path, Path]) -> None:
    watch, child, _ = watched
    with serving(watch) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read().decode() == watch.page and "connect-src" in watch.page
        port = int(address.rsplit(":", 1)[1].strip("/"))
        for host, path, status in (("evil.example", "/", 403), ("", "/x", 404), ("", "/events?x", 404)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path, headers={"Host": host} if host else {})
            assert connection.getresponse().status == status
            connection.close()
        changed(child, "fake: G(z)", "fake: 2 * G(z)")
        threading.Timer(0.2, watch.look).start()
        with urllib.request.urlopen(f"{address}events?1", timeout=10) as events:
            assert events.read() == b"data: 2\n\n"
        with urllib.request.urlopen(f"{address}events?1", timeout=10) as late:
            assert late.read() == b"data: 2\n\n"  # it came between the page and the question
        with pytest.raises(RunError, match=f"port {port} of 127.0.0.1 cannot be used"), serving(watch, port):
            pass
