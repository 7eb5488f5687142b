"""What the pictures say agrees with what the compiler knows, and nothing that a spec says becomes markup."""

from __future__ import annotations

import functools
import itertools
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pygraphviz
import pytest

import gangraph
from benchmarks.legible import legible, written
from gangraph import _paths
from gangraph.compiler import Spec, load
from gangraph.draw import draw, tables, write
from gangraph.draw.describe import describe
from gangraph.draw.dot import COLOURS, DATA, FADED_EDGE, INK, LIVE, MARKS, print_dot
from gangraph.draw.mermaid import print_mermaid
from gangraph.draw.picture import Box, Loss, Picture, Player
from gangraph.draw.render import arrange, lay_out, measure
from gangraph.draw.words import pretty
from gangraph.errors import RunError
from gangraph.expressions import parse
from gangraph.page.html import DARK

GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))
PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SVG = "{http://www.w3.org/2000/svg}"


@functools.cache
def spec(name: str) -> Spec:
    return load(name)


@functools.cache
def picture(name: str) -> Picture:
    return describe(spec(name))


def box(name: str, title: str) -> Box:
    return next(b for b in picture(name).boxes if title in (b.name, b.text))


def loss(name: str, title: str) -> Loss:
    return next(x for x in picture(name).losses if x.name == title)


def player(name: str, title: str) -> Player:
    return next(p for p in picture(name).players if p.name == title)


def terms(name: str, title: str) -> list[tuple[str, str]]:
    return [(t.weight, t.text) for move in player(name, title).moves for t in move.terms]


def edges(name: str) -> set[tuple[str, str]]:
    """Every edge as the titles of its ends."""
    drawn = picture(name)
    said = {b.id: b.name or b.text for b in drawn.boxes} | {x.id: x.name for x in (*drawn.losses, *drawn.players)}
    return {(said[e.tail], said[e.head]) for e in drawn.edges}


def test_the_gallery_is_there() -> None:
    assert len(GALLERY) >= 10


# --- what is said


def test_wgan_gp_as_text() -> None:
    expected = """\
wgan-gp
  input x: image 3×64×64 -> [−1, 1]
  draw z: N(0, 1) 128 ->
  draw eps: U(0, 1) ->
  call fake: G(z) -> 3×64×64 [−1, 1] by G
  value between: x + eps * (fake - x) -> 3×64×64, no gradient
  call : D(x) -> 1 by D
  call : D(fake) -> 1 by D
  call : D(between) -> 1 by D
  loss adv: wasserstein; discriminator by D; generator by G
  loss penalty: 𝔼(norm(grad(D(between), between)) - 1)²
  player D
    D: 7.5 M, called ×3
    1. D, ×5, fresh batch
      +1  adv.discriminator
      +gp = 10  penalty
  player G
    G: 8.5 M, called ×1
    2. G
      +1  adv.generator
  z -> fake
  x ..> between
  eps ..> between
  fake ..> between
  x -> D(x)
  fake -> D(fake)
  between ..> D(between)
  D(x) -> adv (real)
  D(fake) -> adv (fake)
  between ..> penalty
  D(between) -> penalty
  adv (discriminator) -> D (t0)
  penalty -> D (t1)
  adv (generator) -> G (t0)"""
    said = str(picture("wgan-gp")).replace("𝔼\u00a0", "𝔼")
    assert said.splitlines() == expected.splitlines()


@pytest.mark.parametrize("name", GALLERY)
def test_every_network_stands_in_one_table(name: str) -> None:
    tables = [member for p in picture(name).players for n in p.networks for member in n.members]
    called = [n for n, network in spec(name).graph.networks.items() if network.variants]
    assert sorted(tables) == sorted(called)


@pytest.mark.parametrize("name", GALLERY)
def test_every_phase_has_a_row_for_every_term(name: str) -> None:
    rows = {phase: move for p in picture(name).players for move in p.moves for phase in move.phases}
    for phase in spec(name).graph.phases():
        assert len(rows[phase.name].terms) == len(phase.terms)
        for row, term in zip(rows[phase.name].terms, phase.terms, strict=True):
            assert row.weight[0] == ("−" if term.weight.startswith("-") else "+")
            if term.value is not None:
                shown = float(row.weight.split("= ")[-1].replace("−", "-"))
                assert math.isclose(abs(shown), abs(term.value), rel_tol=1e-5)


@pytest.mark.parametrize("name", GALLERY)
def test_every_term_has_an_edge(name: str) -> None:
    arrivals = {(e.head, e.head_port) for e in picture(name).edges}
    rows = [(p.id, term.port) for p in picture(name).players for move in p.moves for term in move.terms]
    assert set(rows) <= arrivals and len(rows) == len(set(rows))


@pytest.mark.parametrize("name", GALLERY)
def test_a_two_sided_loss_shows_both_sides_and_what_enters(name: str) -> None:
    graph = spec(name).graph
    for drawn in picture(name).losses:
        if drawn.members[0] in graph.sided:
            assert [s.name for s in drawn.sides] == ["discriminator", "generator"]
            assert all(len(s.players) == 1 for s in drawn.sides)
            assert drawn.sides[0].players != drawn.sides[1].players
            entering = {e.head_port for e in picture(name).edges if e.head == drawn.id}
            assert entering == {row for row, _ in drawn.arguments} or not drawn.arguments


@pytest.mark.parametrize("name", GALLERY)
def test_a_value_is_on_the_path_of_those_whose_gradient_it_carries(name: str) -> None:
    compiled = spec(name)
    for drawn in picture(name).boxes:
        if drawn.kind in ("call", "value") and drawn.name:
            carried = set()
            for phase in compiled.graph.phases():
                tracked = compiled.schedules[-1].routing.routes[phase.name].live
                named = compiled.graph.named() | compiled.graph.values  # some values are lists
                made = [named[m] for m in drawn.members if m in named]
                nodes = [n for value in made for n in (value if isinstance(value, tuple) else (value,))]
                if any(id(n) in tracked for n in nodes):
                    carried |= {p.name for p in picture(name).players if phase.player in p.members}
            assert drawn.paths == carried


def test_members_of_a_family_are_one_box_where_one_network_makes_them() -> None:
    names = [b.name for b in picture("stargan-v2").boxes if b.name]
    assert "fake[via]" in names and "fake[latent]" not in names
    assert {"s[latent]", "s[reference]"} <= set(names)
    assert box("stargan-v2", "fake[via]").members == ("fake[latent]", "fake[reference]")


def test_calls_of_a_formula_are_a_box_for_each_thing_that_it_is_called_with(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: formula
inputs: {x: vector(4)}
draws: {z: normal(4)}
networks: {G: "mlp([8, 4])", D: "mlp([8, 4])"}
functions: {"apart(D, v)": expect(mean(abs(v - D(v))))}
graph: {fake: G(z)}
losses: {real: "apart(D, x)", made: "apart(D, fake)"}
state: {k: {start: 0, becomes: k + 0.1 * real}}
players:
  D: {networks: [D], optimizer: Adam(lr=1e-3)}
  G: {networks: [G], optimizer: Adam(lr=1e-3)}
schedule: {D: real - k * made, G: made}
"""
    path = tmp_path / "formula.yaml"
    path.write_text(text)
    drawn = describe(load(path))
    assert [b.text for b in drawn.boxes if b.networks == ("D",)] == ["D(x)", "D(fake)"]
    assert {t.weight for p in drawn.players for m in p.moves for t in m.terms} == {"+1", "−k"}


def test_inputs_of_two_streams_are_one_box_where_they_are_alike() -> None:
    assert box("unit", "x[0], x[1]").text == "image 3×128×128"


def test_weights_stand_with_their_names_values_and_clocks() -> None:
    assert terms("stargan-v2", "maker") == [
        ("+1", "adv[via].generator"),
        ("+sty = 1", "style[via]"),
        ("−ds(step)", "diversity[via]"),
        ("+cyc = 1", "cycle[via]"),
    ]
    assert ("+cycle * identity = 5", "idt") in terms("cyclegan", "translators")
    assert ("+gamma = 1e−6", "rec") in terms("vae-gan", "decoder")


def test_a_folded_players_networks_are_named_as_its_key_names_them() -> None:
    rows = {n.name: n.members for n in player("cross-domain-disentanglement", "gen[d]").networks}
    assert rows == {"Enc[1 - d]": ("Enc[0]", "Enc[1]"), "Dec[d]": ("Dec[0]", "Dec[1]")}


def test_a_phase_that_reads_one_member_of_a_family_names_it() -> None:
    assert terms("stargan-joint", "D") == [
        (weight, text.format(member))
        for member in ("celeba", "rafd")
        for weight, text in (("+1", "adv[{}].discriminator"), ("+gp = 10", "penalty[{}]"), ("+cls = 1", "cls_r[{}]"))
    ]
    assert [text for _, text in terms("stargan-joint", "G")][-1] == "cycle[rafd]"
    assert ("+1", "adv[d].discriminator") in terms("drit", "D[d]")  # its two phases read both


def test_a_phase_that_reads_a_row_of_a_family_names_it(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: rows
index: {a: [0, 1], b: [0, 1]}
inputs: {p: {"x[0]": vector(2)}, q: {"x[1]": vector(2)}}
networks: {"G[b]": "mlp([4, 2])", "D[b]": "mlp([4, 1])"}
losses: {"adv[a, b]": "lsgan(real=D[b](x[b]), fake=D[b](G[b](x[a])))"}
players:
  D[b]: {networks: ["D[b]"], optimizer: SGD(lr=0.1)}
  G: {networks: [G], optimizer: SGD(lr=0.1)}
schedule:
  D[b]: adv[0, b].discriminator + adv[1, b].discriminator
  G: add(adv.generator)
"""
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    drawn = describe(load(path))
    terms = [term.text for player in drawn.players for move in player.moves for term in move.terms]
    assert terms == ["adv[0, b].discriminator", "adv[1, b].discriminator", "add(adv.generator)"]


def test_a_frozen_network_that_teaches_has_its_edge(tmp_path: Path) -> None:
    text = """
gangraph: 1
name: taught
extends: gan
networks: {T: {is: "mlp([4, X])", frozen: true, weights: external}}
graph: {teacher: T(z)}
losses: {kd: "expect(l1(fake, teacher))"}
schedule: {G: adv.generator + kd}
"""
    path = tmp_path / "taught.yaml"
    path.write_text(text)
    drawn = describe(load(path))
    names = {thing.id: thing.name for thing in (*drawn.boxes, *drawn.losses)}
    assert ("teacher", "kd") in {(names.get(edge.tail), names.get(edge.head)) for edge in drawn.edges}


def test_a_loss_of_several_players_has_an_edge_to_each() -> None:
    assert loss("vae-gan", "rec").players == ("encoder", "decoder")
    assert {("rec", "encoder"), ("rec", "decoder")} <= edges("vae-gan")


def test_a_loss_that_another_reads_is_of_those_who_minimize_that() -> None:
    for name in ("stackgan-1", "stackgan-2", "stackgan-digits"):
        assert {loss(name, part).players for part in ("e_r", "e_w", "e_f")} == {("D",)}


def test_what_is_held_is_not_computed_again() -> None:
    """The outputs of a call that is held are held with it."""
    plan = gangraph.load("stackgan-2", tiny=True).schedules[-1]
    assert plan.parts("G")["once"] == ["mu, logvar", "fake", "cond"]
    assert plan.parts("G")["computed"] == ["h_fake", "s_fake", "u_fake"]


def test_a_staged_network_is_what_it_is_in_that_stage() -> None:
    spec = gangraph.load("stylegan", tiny=True)
    shapes = [tables.network(spec.at(i), "D").title.partition(",")[0] for i in range(len(spec.graphs))]
    assert shapes == ["D: 3×8×8 → 1", "D: 3×16×16 → 1", "D: 3×32×32 → 1"]


@pytest.mark.parametrize(
    ("written", "printed"),
    [("expect(v)**2", "(𝔼\u00a0v)²"), ("expect(v**2)", "𝔼\u00a0v²"), ("expect(v)**3 / 2", "(𝔼\u00a0v)**3 / 2")],
)
def test_the_square_of_a_mean_is_not_the_mean_of_squares(written: str, printed: str) -> None:
    assert pretty(parse(written)) == printed


def test_a_term_of_weight_0_is_shown_and_said_to_be_idle() -> None:
    (move,) = player("munit", "gen").moves
    assert move.idle == (("+cyc = 0", "add(cc)"),) and not any(x.name == "cc[d]" for x in picture("munit").losses)
    for format in ("svg", "mmd", "dot"):
        drawn = draw(spec("munit"), format, quick=True)
        assert isinstance(drawn, str) and "cyc" in drawn
    cycled = describe(load("munit", constants={"cyc": 10}))
    assert not any(m.idle for p in cycled.players for m in p.moves) and any(x.name == "cc[d]" for x in cycled.losses)


def test_losses_that_only_a_gate_reads_are_dotted() -> None:
    assert not loss("vae-gan", "c_r").live and not loss("vae-gan", "c_r").players
    gates = [e for e in picture("vae-gan").edges if e.head_port.startswith("m")]
    assert len(gates) == 4 and not any(e.live for e in gates)


def test_what_is_stopped_is_dotted_and_cut() -> None:
    fake2 = box("stargan-v2", "fake2[via]")
    assert fake2.cut and not fake2.live
    out = [e for e in picture("stargan-v2").edges if e.tail == fake2.id]
    assert [(e.live, e.cut) for e in out] == [(False, True)]
    assert not box("stargan-v2", "s2[latent]").live and not box("stargan-v2", "s2[latent]").cut


def test_a_pool_cuts() -> None:
    assert box("cyclegan", "old_x").cut and not box("cyclegan", "old_x").live


def test_a_value_that_no_phase_trains_is_dotted_without_a_stop() -> None:
    reference = box("stargan-v2", "s[reference]")  # only G is stepped in the phase that reads it
    assert not reference.live and not reference.cut


def test_data_that_enters_a_loss_stands_in_its_text() -> None:
    assert ("x", "cycle[via]") not in edges("stargan-v2")
    assert "x)" in loss("stargan-v2", "cycle[via]").text


def test_a_loss_says_its_numbers_and_of_how_many_it_is_the_sum() -> None:
    assert loss("lsgan", "adv").text == "least_squares(a=0, b=1, c=1)"
    assert loss("f-gan", "adv").text == 'fgan(divergence="GAN", alpha=0.5, alternative=1)'
    assert loss("drit", "adv2[d]").text == "add(non_saturating) + add(non_saturating)"
    assert loss("wgan", "adv").text == "wasserstein"


def test_what_enters_a_side_as_a_formula_stands_in_its_row() -> None:
    assert loss("cogan", "adv").arguments == (("real", "real_yes - real_no"), ("fake", "fake_yes - fake_no"))
    assert not any(text for x in picture("drit").losses for _, text in x.arguments)
    assert "real = real_yes - real_no" in re.sub("&#45;|#45;", "-", str(draw(spec("cogan"), quick=True)))


def test_shared_networks_say_who_shares_them() -> None:
    rows = {n.name: n.text for n in player("unit", "gen").networks}
    assert rows["enc_shared"].endswith("shared by E[d]")
    inside = {n.name: n.text for n in player("stylegan", "generator").networks}
    assert inside["block[l]"].endswith("in g") and inside["g"].endswith("called ×1")


def test_the_first_adversaries_have_the_same_colours_everywhere() -> None:
    for name in GALLERY:
        for drawn in picture(name).losses:
            if drawn.sides:
                colours = {p.name: p.colour for p in picture(name).players}
                assert colours[drawn.sides[0].players[0]] != 1
    assert [p.colour for p in picture("cyclegan").players] == [1, 0]


# --- how it looks


@pytest.mark.parametrize("name", GALLERY)
def test_svg_is_xml_with_every_name(name: str) -> None:
    drawn = draw(spec(name), quick=True)
    assert isinstance(drawn, str)
    root = ElementTree.fromstring(drawn)
    text = "\n".join(t.text or "" for t in root.iter(f"{SVG}text")).replace("\u00a0", " ")
    for item in (*picture(name).boxes, *picture(name).losses, *picture(name).players):
        assert item.name in text
    assert str(Path.cwd()) not in drawn


@pytest.mark.parametrize("name", GALLERY)
def test_dot_parses_and_is_the_same_twice(name: str) -> None:
    text = draw(spec(name), "dot", quick=True)
    assert isinstance(text, str) and text == draw(load(name), "dot", quick=True)
    graph = pygraphviz.AGraph(string=text)
    drawn = picture(name)
    assert graph.number_of_nodes() == len(drawn.boxes) + len(drawn.losses) + len(drawn.players)
    assert graph.number_of_edges() == len(drawn.edges)


def test_the_best_of_the_shuffles_is_the_same_twice() -> None:
    assert draw(spec("wgan-gp")) == draw(load("wgan-gp"))


def test_shuffles_save_crossings_and_no_edge_runs_through_a_node() -> None:
    plain = measure(lay_out(print_dot(picture("stargan-v2"))))
    best = measure(lay_out(arrange(picture("stargan-v2"), 80).dot()))
    assert best.crossings <= plain.crossings and best.crossings <= 20
    assert best.through == 0


def test_the_view_of_a_player_keeps_every_place() -> None:
    whole, view = draw(spec("stargan-v2"), quick=True), draw(spec("stargan-v2"), player="maker", quick=True)
    assert isinstance(whole, str) and isinstance(view, str) and whole != view
    path = re.compile(r' d="([^"]*)"')
    outlines = set(path.findall(whole))
    assert len([d for d in path.findall(view) if d in outlines]) > 20
    assert "❄" in view and "❄" not in whole
    head = re.compile(r'<svg width="[^"]*" height="[^"]*"')
    assert head.findall(whole) == head.findall(view)


@pytest.mark.parametrize(("format", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_bytes(format: str, start: bytes) -> None:
    drawn = draw(spec("gan"), format, quick=True)
    assert isinstance(drawn, bytes) and drawn.startswith(start)


def test_mermaid() -> None:
    text = draw(spec("gan"), "mmd")
    assert isinstance(text, str) and text.startswith("flowchart LR\n")
    assert '(["z<br/>N(0, 1) 16"])' in text and '-->|"fake"|' in text and '-->|"#43;1 generator"|' in text


def test_tables_of_layers_schedule_and_weights() -> None:
    layers = draw(spec("cyclegan"), view="network", network="G")
    assert isinstance(layers, str)
    assert "11,378,179 parameters" in layers and "9 × 590,080" in layers and "256×64×64" in layers
    for view, word in (("schedule", "translators steps G, F"), ("weights", "cycle * identity = 5")):
        drawn = draw(spec("cyclegan"), view=view)
        assert isinstance(drawn, str) and word in drawn
        ElementTree.fromstring(drawn)


def test_the_schedule_says_when_and_how_often() -> None:
    said = {name: str(tables.schedule(spec(name)).rows) for name in ("drit", "biggan", "vae-gan")}
    assert "makers\\nwhen epoch_step % 3 == 2" in said["drit"]
    assert "D\\n2 times, each on a fresh batch, the mean gradient of 8 evaluations" in said["biggan"]
    assert "encoder steps Enc, Lat\\ndecoder steps Dec, when not (c_r > e + m" in said["vae-gan"]


def test_another_stage_is_drawn_than_the_last() -> None:
    first, last = (draw(spec("stylegan"), "dot", quick=True, stage=stage) for stage in ("size8", "full"))
    assert isinstance(first, str) and "3×8×8" in first and last == draw(spec("stylegan"), "dot", quick=True) != first
    assert "size8" in str(draw(spec("stylegan"), quick=True, stage="size8"))
    assert spec("stylegan").at(0).program.source == spec("stylegan").program.source
    assert tables.timeline(spec("stylegan").at(0), 1).rows[0] == ("critic", "1")
    with pytest.raises(RunError, match=r"no stage is called 'size4' \(did you mean 'size\[4\]'\?\)"):
        draw(spec("stylegan"), stage="size4")


def test_the_first_iterations_say_how_often_each_phase_runs() -> None:
    def runs(name: str, count: int) -> dict[str, list[str]]:
        return {row[0]: list(row[1:]) for row in tables.timeline(spec(name), count).rows}

    assert runs("wgan", 27) == {"D": ["100"] * 25 + ["5"] * 2, "G": ["1"] * 27}
    assert runs("drit", 4)["EG1"] == ["", "", "1", ""] and runs("drit", 4)["Dc"] == ["1"] * 4
    assert runs("vae-gan", 2) == {"encoder": ["1", "1"], "decoder": ["?", "?"], "critic": ["?", "?"]}
    assert runs("stylegan", 2)["ema"] == ["1", "1"]
    drawn = draw(spec("discogan"), view="schedule", iterations=4)
    assert isinstance(drawn, str) and "the first 4 iterations" in drawn and not hard_to_read(drawn)


@pytest.mark.parametrize("name", ["stargan-v2", "cyclegan", "drit"])
def test_every_row_of_the_svg_has_an_id(name: str) -> None:
    ids = {element.get("id") for element in ElementTree.fromstring(draw(spec(name), quick=True)).iter()}
    drawn = picture(name)
    rows = {f"{p.id}-n{i}" for p in drawn.players for i in range(len(p.networks))}
    rows |= {f"{p.id}-{row}" for p in drawn.players for m in p.moves for row in (m.port, *(t.port for t in m.terms))}
    rows |= {f"{x.id}-s_{side.name}" for x in drawn.losses for side in x.sides}
    assert rows and rows <= ids
    assert {b.id for b in drawn.boxes} | {f"e{i}" for i in range(len(drawn.edges))} <= ids


def test_what_is_made_once_is_held_after_its_first_evaluation() -> None:
    def runs(title: str) -> dict[str, str]:
        (role,) = box("cyclegan", title).roles
        return dict(role.runs)

    assert runs("fake_y") == {"translators": "gradient", "discriminators": "held"}
    assert runs("rec_x") == {"translators": "gradient"}
    assert runs("old_y") == {"discriminators": "no gradient"}


def test_members_of_one_box_have_roles_of_their_own() -> None:
    roles = {role.member: dict(role.runs) for role in box("stargan-v2", "fake[via]").roles}
    assert roles["fake[latent]"] == {"D_latent": "no gradient", "G_latent": "gradient"}
    assert roles["fake[reference]"] == {"D_reference": "no gradient", "G_reference": "gradient"}


@pytest.mark.parametrize("name", GALLERY)
def test_a_phase_passes_a_gradient_only_where_its_evaluation_computes(name: str) -> None:
    evaluation = {p.name: s.name for s in spec(name).graph.steps() for p in s.phases}
    for drawn in (*picture(name).boxes, *picture(name).losses):
        assert drawn.roles
        for role in drawn.roles:
            assert {evaluation[phase] for phase in role.phases} <= {name for name, _ in role.runs}


def test_the_schedule_names_the_parts_of_a_call_that_is_made_once() -> None:
    from gangraph.show import overview

    drawn = draw(spec("stargan-v2-masked"), view="schedule")
    assert isinstance(drawn, str) and "z, m_whole, m_inner" in drawn
    assert "once: z, m_whole, m_inner\n" in overview(spec("stargan-v2-masked"))


def test_the_rules_of_a_player_stand_in_its_table() -> None:
    assert player("wgan", "D").rules == ("before: clamp(p, -c, c)",)
    assert player("drit", "Dc").rules == ("gradient: clip_norm(5)",)
    assert [rule.partition(":")[0] for rule in player("stargan-v2", "maker").rules] == ["optimizer.F"]
    for format in ("svg", "mmd"):
        text = draw(spec("wgan"), format, quick=True)
        assert isinstance(text, str) and "clamp(p, -c, c)" in re.sub("&#45;|#45;", "-", text)


def test_the_package_is_callable() -> None:
    import gangraph.draw

    assert gangraph.draw(spec("gan"), quick=True) == draw(spec("gan"), quick=True)


@pytest.mark.parametrize("name", GALLERY)
def test_the_committed_picture_says_the_same(name: str) -> None:
    path = PICTURES / f"{name}.svg"
    text = path.read_text()
    assert len(text.encode()) < 64_000
    said = "\n".join(t.text or "" for t in ElementTree.fromstring(text).iter(f"{SVG}text"))
    assert all(item.name in said for item in (*picture(name).boxes, *picture(name).losses, *picture(name).players))


# --- how legible it is


MOST = {"stargan-v2": 16, "cyclegan": 8, "drit": 12}  # crossings that a model drawn by hand reached


def hard_to_read(svg: str) -> list[str]:
    found = legible(svg)
    return [*found.cut, *found.overlapping, *found.struck]


@pytest.mark.parametrize("path", sorted(PICTURES.glob("*.svg")), ids=lambda path: path.stem)
def test_no_label_of_a_committed_picture_is_cut_or_covered(path: Path) -> None:
    found = legible(path.read_text())
    assert not hard_to_read(path.read_text())
    assert found.through == 0 and found.crossings <= MOST.get(path.stem, 24)


@pytest.mark.parametrize("name", GALLERY)
def test_no_label_of_any_view_is_cut_or_covered(name: str) -> None:
    drawn = spec(name)
    views: list[dict[str, str]] = [{"view": "schedule"}, {"view": "weights"}, {"view": "game"}]
    views += [{"view": "game", "player": player} for player in drawn.graph.players]
    families = {n.partition("[")[0]: n for n, network in drawn.graph.networks.items() if network.variants}
    views += [{"view": "network", "network": member} for member in families.values()]
    for options in views:
        svg = draw(drawn, quick=True, **options)
        assert isinstance(svg, str) and not hard_to_read(svg), options


@pytest.mark.parametrize("name", GALLERY)
def test_the_terms_of_a_phase_stand_in_the_order_of_the_losses_that_they_read(name: str) -> None:
    groups = {g.get("id"): g for g in ElementTree.parse(PICTURES / f"{name}.svg").iter(f"{SVG}g")}

    def depth(id: str) -> float:
        """Where the outlines and texts of a box, or of a row, stand on the mean."""
        return sum(ys := [float(t.get("y", "")) for t in groups[id].iter(f"{SVG}text")]) / len(ys)

    read: dict[tuple[str, str], list[float]] = {}
    for edge in picture(name).edges:
        read.setdefault((edge.head, edge.head_port), []).append(depth(edge.tail))
    for drawn in picture(name).players:
        for move in drawn.moves:
            rows = [(depth(f"{drawn.id}-{t.port}"), read[drawn.id, t.port]) for t in move.terms]
            losses = [sum(found) / len(found) for _, found in sorted(rows)]
            assert all(one <= other + 12 for one, other in itertools.pairwise(losses)), move.text


@pytest.mark.parametrize("options", [{}, {"before": "dualgan"}])
def test_edges_from_losses_to_players_have_room_to_keep_apart(options: dict[str, str]) -> None:
    graph = pygraphviz.AGraph(string=draw(spec("cyclegan"), "dot", quick=True, **options))
    ends = [e for e in graph.edges() if re.fullmatch(r"r?p\d+", e[1])]
    assert ends and all(e.attr["minlen"] == "2" for e in ends)


def test_what_is_hard_to_read_is_found() -> None:
    """A picture that is spoilt on purpose: a text too long for its box, a text upon another, an edge through a text."""
    svg = draw(spec("gan"))
    assert isinstance(svg, str) and not hard_to_read(svg)
    assert legible(svg.replace(">non_saturating<", ">non_saturating_of_many_words<")).cut
    name = re.compile(r'(<text[^>]* y=")([-\d.]+)("[^>]*>vector 2<)')
    assert legible(name.sub(lambda m: f"{m[1]}{float(m[2]) - 10}{m[3]}", svg)).overlapping
    head = re.compile(r'(<path fill="none"[^>]* d="M)[-\d.]+,[-\d.]+')
    assert any(legible(head.sub(rf"\g<1>{x},-30", svg)).struck for x in range(100, 240, 5))


# Machado, Oliveira and Fernandes 2009, of full severity, on linear RGB
BLINDNESS = {
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}


def values(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def linear(colour: str) -> list[float]:
    """Linear RGB of `#rrggbb`."""
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values(colour)]


def lab(rgb: list[float]) -> list[float]:
    """CIE L*a*b* under D65."""
    rows = ((0.4124, 0.3576, 0.1805, 0.9505), (0.2126, 0.7152, 0.0722, 1), (0.0193, 0.1192, 0.9505, 1.089))
    x, y, z = (max(0, sum(a * b for a, b in zip(row, rgb, strict=False))) / row[3] for row in rows)
    f, g, h = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return [116 * g - 16, 500 * (f - g), 200 * (g - h)]


def luminance(colour: str) -> float:
    return sum(a * b for a, b in zip((0.2126, 0.7152, 0.0722), linear(colour), strict=True))


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_are_told_apart_by_those_who_see_fewer(kind: str) -> None:
    def seen(colour: str) -> list[float]:
        mixed = (sum(a * b for a, b in zip(row, linear(colour), strict=True)) for row in BLINDNESS[kind])
        return lab([min(1, max(0, v)) for v in mixed])

    assert min(math.dist(a, b) for a, b in itertools.combinations([seen(c.line) for c in COLOURS], 2)) > 16.9


def test_glyphs_and_signs_speak_where_colours_do_not() -> None:
    assert len({c.glyph for c in COLOURS}) == len(COLOURS)
    assert [MARKS[m].glyph for m in ("kept", "added", "removed", "changed")] == ["", "+", "−", "±"]


def test_texts_stand_out_of_what_they_stand_on() -> None:
    """Every text has a ground of its own, so that these hold on a white page and on a dark one."""
    assert all(contrast(INK, c.tint) >= 12 and contrast(c.ink, c.line) >= 3 for c in COLOURS)
    assert all(contrast(look.ink, look.tint) >= 4.5 for look in MARKS.values())
    for page in ("#FFFFFF", "#0D1117", DARK):  # lines, on white, on a dark page, and on our own
        assert all(contrast(line, page) >= 3 for line in (*(c.line for c in COLOURS), LIVE, DATA))


def test_what_is_left_out_is_paler_than_the_rest_on_every_page() -> None:
    for page in ("#FFFFFF", "#0D1117", DARK):
        share = int(FADED_EDGE[7:], 16) / 255
        mixed = [
            round(255 * v)
            for v in (share * a + (1 - share) * b for a, b in zip(*map(values, (LIVE, page)), strict=True))
        ]
        assert 2 <= contrast("#" + "".join(f"{v:02x}" for v in mixed), page) < contrast(LIVE, page) / 1.8


def test_the_page_shows_between_the_dots_of_a_border() -> None:
    """Else the fill would, and look like a border itself on a dark page; and dots stand close on short edges."""
    svg = draw(spec("stargan-v2"), quick=True)
    assert isinstance(svg, str)
    dotted = [e for e in ElementTree.fromstring(svg).iter() if "stroke-dasharray" in e.attrib]
    assert {(e.get("fill"), e.get("stroke-dasharray"), e.get("stroke-linecap")) for e in dotted} == {
        ("none", "0.1,3.6", "round")
    }
    (group,) = [
        g for g in ElementTree.fromstring(svg).iter(f"{SVG}g") if g.get("id") == box("stargan-v2", "fake2[via]").id
    ]
    border, ground = group.findall(f"{SVG}path")
    across, _, _, down, right, below = (float(v) for v in re.findall(r"-?[\d.]+", ground.get("transform", "")))
    xs, ys = zip(
        *[map(float, point.split(",")) for point in re.findall(r"[-\d.]+,[-\d.]+", border.get("d", ""))], strict=True
    )
    assert border.get("d") == ground.get("d") and ground.get("fill") == COLOURS[1].tint.lower()
    for numbers, scale, shift in ((xs, across, right), (ys, down, below)):
        assert math.isclose(min(numbers) * scale + shift, min(numbers) + 2, abs_tol=0.3)
        assert math.isclose(max(numbers) * scale + shift, max(numbers) - 2, abs_tol=0.3)


def test_lines_of_one_box_keep_apart() -> None:
    """So that what hangs below one, an underscore, stands off what the next one reaches up to."""
    svg = draw(spec("vae-gan"), quick=True)
    assert isinstance(svg, str)
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if (group.get("class") or "") == "node":
            lines = sorted({float(t.get("y", "")) for t in group.iter(f"{SVG}text")})
            assert all(other - one >= 12.5 for one, other in itertools.pairwise(lines) if other - one > 2)


@pytest.mark.parametrize(("name", "most"), [("stargan-v2", 16), ("cyclegan", 8), ("drit", 12)])
def test_pictures_cross_no_more_than_the_model_that_was_drawn_by_hand(name: str, most: int) -> None:
    assert legible((PICTURES / f"{name}.svg").read_text(encoding="utf-8")).crossings <= most


def test_the_table_of_the_pictures_is_current() -> None:
    page = (PICTURES.parent / "diagrams.md").read_text(encoding="utf-8")
    assert written(page) == page, "run: make pictures"


# --- strangers' texts


HOSTILE = '</title><script>alert(1)</script>"&\\N'


def test_hostile_texts_are_text(tmp_path: Path) -> None:
    file = tmp_path / "hostile.yaml"
    source = (_paths.specs() / "gan.yaml").read_text()
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    source = source.replace("title: Generative Adversarial Nets", f"title: {quoted}")
    source = re.sub(r"notes:\n(- .*\n)+", lambda _: f"notes:\n- {quoted}\n", source)
    file.write_text(source)
    hostile = load(file)
    svg = draw(hostile, quick=True)
    assert isinstance(svg, str)
    root = ElementTree.fromstring(svg)
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    titles = [t.text for t in root.iter(f"{SVG}title")]
    assert f"gan: {HOSTILE}" in titles


def test_hostile_names_in_a_picture_are_text() -> None:
    drawn = picture("gan")
    boxes = tuple(replace(b, name=HOSTILE, text=HOSTILE, facts=HOSTILE) for b in drawn.boxes)
    losses = tuple(replace(x, name=HOSTILE, text=HOSTILE) for x in drawn.losses)
    hostile = replace(drawn, name=HOSTILE, boxes=boxes, losses=losses)
    graph = lay_out(print_dot(hostile))
    svg = graph.draw(format="svg", prog="nop2").decode()
    root = ElementTree.fromstring(svg[svg.index("<svg") :])
    assert not [e for e in root.iter() if e.tag.endswith("script")]
    assert any("<script>" in (t.text or "") for t in root.iter(f"{SVG}text"))
    assert "<script>" not in print_mermaid(hostile) and "alert(1)" in print_mermaid(hostile)


# --- what goes wrong


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "gif"}, "no format is called 'gif' (there are svg, png, pdf, dot, mmd, html)"),
        ({"view": "gmae"}, "no view is called 'gmae' (did you mean 'game'?)"),
        ({"player": "X"}, "no player is called 'X' (there are D, G)"),
        ({"view": "network"}, "--view network needs --network, one of G, D"),
        ({"view": "network", "network": "H"}, "no network is called 'H' (there are G, D)"),
        ({"network": "G"}, "--network goes with --view network, not with --view game"),
        ({"view": "weights", "player": "G"}, "--player goes with --view game, not with --view weights"),
        ({"stage": "size8"}, "gan has no stages"),
        ({"iterations": 3}, "--iterations goes with --view schedule, not with --view game"),
        ({"view": "schedule", "iterations": 0}, "--iterations is a number from 1 to 100, not 0"),
    ],
)
def test_wrong_words_are_named(options: dict[str, str], message: str) -> None:
    with pytest.raises(RunError) as error:
        draw(spec("gan"), **options)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_an_iteration_in_which_a_condition_has_no_value_is_named(tmp_path: Path) -> None:
    moves = "schedule:\n  D: {minimize: adv.discriminator, when: 9 % (step - 3) == 1}\n"
    (tmp_path / "odd.yaml").write_text(f"gangraph: 1\nname: odd\nextends: gan\n{moves}")
    with pytest.raises(RunError, match="how often D runs is no number in iteration 3"):
        draw(tmp_path / "odd.yaml", view="schedule", iterations=6)


def test_a_table_has_no_mermaid() -> None:
    with pytest.raises(RunError, match="Mermaid has none"):
        draw(spec("gan"), "mmd", view="weights")


def test_files_by_suffix(tmp_path: Path) -> None:
    for suffix in ("svg", "dot", "mmd", "png", "pdf"):
        write(spec("gan"), tmp_path / f"a.{suffix}", quick=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dot", "a.mmd", "a.pdf", "a.png", "a.svg"]
    assert (tmp_path / "a.svg").read_text().startswith("<svg")


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pictures are written as \.svg"):
        write(spec("gan"), tmp_path / "a.bmp")
    kept = tmp_path / "kept.svg"
    kept.write_text("before")
    with pytest.raises(gangraph.RunError):
        write(spec("gan"), kept, player="X")
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    with pytest.raises(RunError, match="is a folder, and a file is written"):
        write(spec("gan"), folder, quick=True)
    assert kept.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.svg", "kept.svg"]
