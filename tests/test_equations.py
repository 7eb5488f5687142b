"""The equations of every spec of the gallery: complete, well formed in each format, and what the papers say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import gangraph
from gangraph import _paths
from gangraph.equations import equations, sections
from gangraph.equations.breaks import PAGE, lines, width
from gangraph.equations.formats import as_text
from gangraph.equations.pieces import MARKS, plain
from gangraph.equations.stage import Stage
from gangraph.equations.symbols import escape, number, symbol
from gangraph.equations.write import Writer
from gangraph.errors import RunError
from gangraph.expressions import parse, show, simple

GALLERY = sorted(path.stem for path in _paths.specs().glob("*.yaml"))
MATHML = "{http://www.w3.org/1998/Math/MathML}"
WORDS = r"""
\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \iota \kappa \lambda \mu \nu \xi \pi \rho \sigma
\tau \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Phi \Psi \Omega
\mathbb \mathcal \mathfrak \mathrm \text \left \right \middle \lVert \rVert \Vert \lfloor \rfloor \frac \tfrac
\sqrt \sum \min \max \log \exp \nabla \sim \in \dots \cdots \cdot \land \lor \lnot \le \ne \lt \gt \bmod \quad \qquad
\begin \end \paragraph \item \backslash \hat \tilde \prime \textbackslash \textless \textgreater \times \gets
"""  # what amsmath, amssymb and plain LaTeX define
COMMANDS = frozenset(WORDS.split())


@pytest.fixture(scope="module", params=GALLERY)
def spec(request: pytest.FixtureRequest) -> gangraph.Spec:
    return gangraph.load(request.param)


def test_the_gallery_is_not_empty() -> None:
    assert len(GALLERY) >= 10


# --- complete


def test_every_term_of_every_objective_stands_with_its_weight(spec: gangraph.Spec) -> None:
    for graph in spec.graphs:
        stage = Stage(graph)
        made = {s.title.split(",")[0].split(" (")[0]: s for s in stage.sections() if s.kind == "objective"}
        for phase in graph.phases():
            equation, *_ = made[phase.name].equations
            assert len(equation.terms) == len(phase.terms), phase.name
            for term, (sign, piece) in zip(phase.terms, equation.terms, strict=True):
                assert sign == ("-" if term.weight.startswith("-") else "+")
                for name in re.findall(r"[A-Za-z_]\w*", term.weight.removeprefix("-")):
                    assert name in stage.writer.symbols, f"{name} of {term.weight}"
                    assert stage.writer.symbols[name].text in piece.text
                loss = re.findall(r"[A-Za-z_]\w*", term.loss)[1 if term.loss.startswith("add(") else 0]
                assert f"ℒ_{loss}" in piece.text


def test_every_weight_has_a_value_below(spec: gangraph.Spec) -> None:
    for graph in spec.graphs:
        stage = Stage(graph)
        made = stage.sections()
        table = {e.left.text for s in made if s.kind == "with" for e in s.equations}
        assert table == {piece.text for piece in stage.writer.symbols.values()}


def test_every_loss_that_an_objective_names_is_defined(spec: gangraph.Spec) -> None:
    text = equations(spec)
    for graph in spec.graphs:
        for phase in graph.phases():
            for term in phase.terms:
                for loss in set(re.findall(r"[A-Za-z_]\w*", term.loss)) & {n.split("[")[0] for n in graph.losses}:
                    assert re.search(rf"^ *ℒ_{loss}\S* =", text, re.MULTILINE), loss


def test_every_network_letter_appears(spec: gangraph.Spec) -> None:
    text = equations(spec)
    for name in spec.graph.networks:
        family = name.split("[")[0]
        assert re.search(rf"(?<![A-Za-z]){re.escape(symbol(family).text)}(?![A-Za-z])", text), name


def test_every_value_that_stands_in_a_formula_is_defined(spec: gangraph.Spec) -> None:
    for graph in spec.graphs:
        stage = Stage(graph)
        where = next((s for s in stage.sections() if s.kind == "where"), None)
        defined = " ".join(e.left.text for e in where.equations) if where else ""
        for name in stage.writer.values:
            assert re.search(rf"(?<![A-Za-z]){re.escape(stage.writer.symbol(name).text)}", defined), name


# --- well formed


def latex_problems(text: str) -> list[str]:
    """What amsmath would trip over: brackets, pairs, environments, commands that it does not know."""
    found = []
    depth = 0
    for i, char in enumerate(text):
        escaped = i > 0 and text[i - 1] == "\\" and not (i > 1 and text[i - 2] == "\\")
        if char == "{" and not escaped:
            depth += 1
        if char == "}" and not escaped:
            depth -= 1
        if depth < 0:
            return [f"a brace closes too much: {text[max(0, i - 60) : i + 1]}"]
    found += ["a brace stays open"] if depth else []
    environments: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", text):
        if kind == "begin":
            environments.append(name)
        elif not environments or environments.pop() != name:
            found.append(f"\\end{{{name}}} without its beginning")
    found += [f"\\begin{{{name}}} stays open" for name in environments]
    for line in re.split(r"\\\\\n|\n", text):
        if len(re.findall(r"\\left(?![a-z])", line)) != len(re.findall(r"\\right(?![a-z])", line)):
            found.append(f"\\left and \\right do not pair: {line}")
    found += [f"unknown command {c}" for c in re.findall(r"\\[A-Za-z]+", text) if c not in COMMANDS]
    for body in re.findall(r"\\begin\{align\*\}(.*?)\\end\{align\*\}", text, re.DOTALL):
        rows = re.sub(r"\\begin\{cases\}.*\\end\{cases\}", "", body).split("\\\\\n")
        found += [f"not one & in a row: {row}" for row in rows if len(re.findall(r"(?<!\\)&", row)) != 1]
        found += [f"a blank line in align: {body}"] if "\n\n" in body else []
        found += [f"a bare sign: {sign}" for sign in re.findall(r"(?<!\\)[#$%]", body)]
    return found


def test_latex_is_structurally_sound(spec: gangraph.Spec) -> None:
    made = equations(spec, "latex")
    assert latex_problems(made) == []
    assert made.isascii() or {c for c in made if not c.isascii()} <= set("·")


def test_mathml_is_xml_without_leftovers_of_latex(spec: gangraph.Spec) -> None:
    made = equations(spec, "mathml")
    root = ElementTree.fromstring(made)
    formulas = root.findall(f"{MATHML}math")
    assert len(formulas) == sum(1 for s in sections(spec) if s.equations)
    rows = [row for formula in formulas for row in formula.findall(f"{MATHML}mtable/{MATHML}mtr")]
    assert len(rows) == sum(1 + len(more) for s in sections(spec) for _, _, more in lines(s, "latex"))
    assert not root.findall(f".//{MATHML}msub/{MATHML}mo[.='∑']")
    for node in root.iter():
        assert "\\" not in (node.text or "")
        assert node.tag != f"{MATHML}mi" or not re.search(r"[~\u223c:;¬⌊⌋]", node.text or "")
        assert node.tag.removeprefix(MATHML) in {
            "math", "mtable", "mtr", "mtd", "mrow", "mi", "mo", "mn", "msub", "msup", "msubsup", "mfrac", "mspace",
            "mtext", "mover", "munder", "munderover", "style", "msqrt", "mstyle", "div", "h2", "h3", "ul", "li",
        }  # fmt: skip


def test_a_long_sum_breaks_over_lines_in_every_format() -> None:
    spec = gangraph.load("unit")
    assert re.search(r"J_gen = .*\n +\+ λ_direct Σ.*\n.*\n +\+ λ_kl_cycle", equations(spec))
    assert re.search(r"\\mathcal\{J\}_\{\\mathrm\{gen\}\} &= .* \\\\\n  &\\qquad \{\}\+", equations(spec, "latex"))
    section = next(s for s in sections(spec) if s.title == "gen")
    assert [len(more) for _, _, more in lines(section, "text")] == [3]


def test_no_line_runs_over_a_page(spec: gangraph.Spec) -> None:
    assert max(width(line, "text") for line in equations(spec).splitlines()) <= PAGE["text"] == 100
    for section in sections(spec):
        for equation, first, more in lines(section, "latex"):
            left = width(equation.left.latex, "latex") + 3
            assert all(left + width(line, "latex") <= PAGE["latex"] for line in [first, *more]), first


def test_breaks_change_nothing_but_the_lines(spec: gangraph.Spec) -> None:
    def said(*written: str) -> str:
        return re.sub(r"\\(?:left|right)\.|\\q?quad|\s", "", plain("".join(written)))

    for section in sections(spec):
        for form in ("text", "latex"):
            for equation, first, more in lines(section, form):
                assert said(first, *more) == said(getattr(equation.right, form))
    for format in ("text", "latex", "mathml"):
        assert not set(equations(spec, format)) & set(MARKS)


def test_a_bracket_that_is_too_long_breaks_inside(tmp_path: Path) -> None:
    text = equations(gangraph.load("munit"))
    assert re.search(r"ℒ_adv_d\^dis = Σ_\{k ∈ \{0, 1, 2\}\} \(𝔼_.*\]\n {20}\+ 𝔼_.*\]\)\n +for d", text)
    long = f"three * ({' + '.join(f'expect(l2(fake, {n} * x))' for n in range(2, 6))})"
    latex = equations(gangraph.load(written(tmp_path, filled("hinge(real=D(x), fake=D(fake))", f'"{long}"'))), "latex")
    assert latex_problems(latex) == []
    assert re.search(r"\\left\(.*\\right\. \\\\\n  &\\qquad \{\}\\quad \\left\. \+ .*\\right\)", latex)


def test_of_two_places_to_break_the_outer_one_is_taken(tmp_path: Path) -> None:
    long = " + ".join(f"{n} * expect(l2(fake, x) + {n} * l1(fake, x))" for n in range(2, 6))
    (found,) = re.findall(r"ℒ_extra = (.*?)\n\n", made(tmp_path, extra=f'"{long}"'), re.DOTALL)
    assert len(found.split("\n")) > 1
    assert all(line.count("[") == line.count("]") for line in found.split("\n"))


def test_a_bracket_on_a_line_of_its_own_stands_right_of_its_sign() -> None:
    text = equations(gangraph.load("stylegan"))
    assert re.search(r"\n( +)− 𝔼_\{.*\n\1  \[log", text)


def test_a_long_note_goes_on_in_the_next_line() -> None:
    spec = gangraph.load("bicyclegan")
    noted = [dataclasses.replace(s, notes=(("word " * 40,),)) for s in sections(spec)][-1:]
    assert as_text(noted).splitlines()[2].startswith("    word")


def test_members_of_one_stream_are_drawn_together_whichever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(
        """
gangraph: 1
name: two
index: {d: [0, 1], t: [0, 1]}
inputs: {A: {"x[0, t]": vector(2)}, B: {"x[1, t]": vector(2)}}
networks: {"P[d]": "Linear(2)"}
losses: {"rec[d]": "expect(l2(P[d](x[d, 0]), x[d, 1]))", "far[d]": "expect(l2(P[d](x[1 - d, 0]), x[d, 1]))"}
players: {P: {networks: [P], optimizer: SGD(lr=0.1)}}
schedule: {P: add(rec) + add(far)}
""",
        encoding="utf-8",
    )
    text = gangraph.equations(path)
    assert "(x_{d,0}, x_{d,1}) ∼ p_{x_{d,0}, x_{d,1}}" in text  # of one domain, whichever d is
    assert "x_{1 − d,0} ∼ p_{x_{1 − d,0}}, x_{d,1} ∼ p_{x_{d,1}}" in text  # of two


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(RunError, match="no format is called 'word'"):
        equations(gangraph.load("gan"), "word")


# --- equal to the papers


def block(name: str, title: str) -> str:
    found = next(part for part in equations(gangraph.load(name)).split("\n\n") if part.split("\n")[0] == title)
    return re.sub(r"\s+", " ", found.partition("\n")[2]).strip()


def test_gan_minimax_is_equation_1_of_its_paper() -> None:
    assert block("gan-minimax", "adv").startswith(
        "min_G max_D V_adv = 𝔼_{x ∼ p_data}[log σ(D(x))] + 𝔼_{z ∼ 𝒩(0, I)}[log(1 − σ(D(fake)))]"
    )


def test_the_non_saturating_loss_is_no_game() -> None:
    assert block("gan", "adv") == (
        "ℒ_adv^dis = −𝔼_{x ∼ p_data}[log σ(D(x))] − 𝔼_{z ∼ 𝒩(0, I)}[log(1 − σ(D(fake)))] "
        "ℒ_adv^gen = −𝔼_{z ∼ 𝒩(0, I)}[log σ(D(fake))]"
    )


def test_wgan_gp_is_the_game_and_its_penalty() -> None:
    assert "min_G max_D V_adv = 𝔼_{x ∼ p_data}[D(x)] − 𝔼_{z ∼ 𝒩(0, I)}[D(fake)]" in block("wgan-gp", "adv")
    assert block("wgan-gp", "penalty") == (
        "ℒ_penalty = 𝔼_{x ∼ p_data, ε ∼ U(0, 1), z ∼ 𝒩(0, I)}[(‖∇_between D(between)‖₂ − 1)²]"
    )
    assert block("wgan-gp", "D, n_critic times an iteration") == "min_D J_D = ℒ_adv^dis + λ_gp ℒ_penalty"


def test_cyclegan_is_least_squares_cycles_and_identities() -> None:
    assert block("cyclegan", "translators") == (
        "min_{G, F} J_translators = ℒ_gan_y^gen + ℒ_gan_x^gen + λ_cycle ℒ_cyc + λ_cycle λ_identity ℒ_idt"
    )
    assert block("cyclegan", "cyc") == "ℒ_cyc = 𝔼_{x ∼ p_X}[‖rec_x − x‖₁/n] + 𝔼_{y ∼ p_Y}[‖rec_y − y‖₁/n]"
    assert block("cyclegan", "gan_y") == (
        "ℒ_gan_y^dis = 𝔼_{y ∼ p_Y}[(D_Y(y) − 1)²] + 𝔼_{old_y ∼ Pool_50(fake_y)}[D_Y(old_y)²] "
        "ℒ_gan_y^gen = 𝔼_{x ∼ p_X}[(D_Y(fake_y) − 1)²]"
    )


def test_bicyclegan_freezes_the_encoder_and_sums_over_scales() -> None:
    assert "(μ2, logvar2) = sg[E](b_rnd)" in block("bicyclegan", "where")
    assert block("bicyclegan", "gan").startswith("ℒ_gan^dis = Σ_{k ∈ {0, 1}} (𝔼_{b ∼ p_data}[(D_k(b1) − 1)²] +")
    assert block("bicyclegan", "kl") == "ℒ_kl = Σ^{⌊N / 2⌋}_{b ∼ p_data} D_KL(𝒩(μ, exp(logvar)) ‖ 𝒩(0, I))"


def test_unit_says_both_domains_at_once() -> None:
    assert block("unit", "adv") == (
        "ℒ_adv_d^dis = −𝔼_{x_d ∼ p_x_d}[log σ(D_d(x_d))] − 𝔼_{x_{1 − d} ∼ p_{x_{1 − d}}}[log(1 − σ(D_d(fake_d)))]"
        " for d ∈ {0, 1} ℒ_adv_d^gen = −𝔼_{x_{1 − d} ∼ p_{x_{1 − d}}}[log σ(D_d(fake_d))] for d ∈ {0, 1}"
    )


def test_stargan_v2_subtracts_its_diversity_and_stops_the_second_fake() -> None:
    assert "− λ_ds ℒ_diversity_latent" in block("stargan-v2", "G_latent (a move of maker)")
    assert "fake2_via = sg[G(x, s2_via)]" in block("stargan-v2", "where")
    assert block("stargan-v2", "R1") == "ℒ_R1 = ½ 𝔼_{(x, y) ∼ p_source}[‖∇_x d_real‖₂²]"


def test_vae_gan_sums_over_the_batch_and_weighs_the_decoder() -> None:
    assert block("vae-gan", "decoder").startswith("min_Dec J_decoder = γ ℒ_rec + (1 − γ) ℒ_gan^gen")
    assert block("vae-gan", "prior") == "ℒ_prior = Σ^N_{x ∼ p_data} D_KL(𝒩(μ, exp(logvar)) ‖ 𝒩(0, I))"


def test_stylegan_says_once_what_its_stages_share() -> None:
    text = equations(gangraph.load("stylegan"))
    assert text.count("J_critic =") == 1
    assert "where, in size8" in text
    assert "w_j = {w1 if j = 0 ∨ j < cut, w2 if mixed, else w1}" in text
    assert "with, in" not in text and "r = 3   in size8\n" in text and "r = 10   in full\n" in text
    assert text.count(" top = 10\n") == text.count(" span = 600000\n") == 1


def test_a_phase_and_a_loss_of_one_name_are_two_sections(tmp_path: Path) -> None:
    spec = gangraph.load(
        written(tmp_path, filled("hinge(real=D(x), fake=D(fake))", "expect(mean(fake))", phase="extra"))
    )
    kinds = [s.kind for s in sections(spec) if s.title.startswith("extra")]
    assert kinds == ["objective", "loss"]


# --- what is known before the run, and what nobody reads


def test_f_gan_prints_the_branches_of_its_word() -> None:
    assert block("f-gan", "adv") == (
        "ℒ_adv^dis = −𝔼_{x ∼ p_data}[log σ(V(x))] − 𝔼_{z ∼ U(−1, 1)}[log(1 − σ(V(fake)))] "
        "ℒ_adv^gen = −𝔼_{z ∼ U(−1, 1)}[log σ(V(fake))]"
    )
    assert "fgan_output" not in equations(gangraph.load("f-gan"))


def test_f_gan_is_a_game_where_the_generator_plays_the_bound() -> None:
    text = equations(gangraph.load("f-gan", constants={"alternative": 0}))
    assert "min_G max_V V_adv = 𝔼_{x ∼ p_data}[log σ(V(x))] + 𝔼_{z ∼ U(−1, 1)}[log(1 − σ(V(fake)))]" in text


@pytest.mark.parametrize(
    ("divergence", "output", "conjugate"),
    [
        ("KL", "[V(x)]", "exp(V(fake) − 1)"),
        ("Pearson", "[V(x)]", "V(fake)² / 4 + V(fake)"),
        ("reverse KL", "[exp(−V(x))]", "V(fake) − 1"),
        ("alpha", "1 / (1 − α) + log σ(V(x))", "(−(1 − α) log σ(V(fake)))"),
    ],
)
def test_every_divergence_prints_its_own_row(tmp_path: Path, divergence: str, output: str, conjugate: str) -> None:
    file = tmp_path / "row.yaml"
    loss = f"fgan(real=V(x), fake=V(fake), divergence='{divergence}', alpha=alpha)"
    file.write_text(
        f'gangraph: 1\nname: row\nextends: f-gan\nconstants: {{alternative: ~}}\nlosses: {{adv: "{loss}"}}\n'
    )
    text = equations(gangraph.load(file))
    assert output in text and conjugate in text and "min_G max_V" in text


def test_a_loss_of_weight_zero_is_named_and_not_printed() -> None:
    text = equations(gangraph.load("munit"))
    assert "ℒ_cc_d" not in text and "λ_cyc = 0 leaves out ℒ_cc." in text
    assert "ℒ_cc_d = " in equations(gangraph.load("munit", constants={"cyc": 10}))


def test_a_loss_that_stands_nowhere_is_named(tmp_path: Path) -> None:
    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(fake))").replace("+ extra", "+ 0 * extra")
    assert "No objective reads ℒ_extra." in equations(gangraph.load(written(tmp_path, text)))


def test_losses_that_a_condition_reads_are_printed() -> None:
    text = equations(gangraph.load("vae-gan"))
    assert "ℒ_c_r = " in text and "No objective" not in text


def test_an_exponential_is_no_power_of_a_letter_that_a_constant_has() -> None:
    text = equations(gangraph.load("vae-gan"), "latex")
    assert r"\mathcal{N}(\mu, \exp(\mathrm{logvar}))" in text and "e^{" not in text and "  e &=" in text


def test_cross_entropies_are_defined_where_they_are_used() -> None:
    notes = {"BCE": "BCE(p, t) = −t log p − (1 − t) log(1 − p), entry by entry.", "CE": "CE(v, t) = −log softmax(v)_t"}
    for name in ("dcgan", "drit", "stargan", "stargan-joint", "vae-gan"):
        formulas, _, said = equations(gangraph.load(name)).partition("\nnotes\n")
        for sign, note in notes.items():
            assert (note in said) == bool(re.search(rf"\b{sign}\(", formulas)), name


def test_a_loss_of_a_map_is_the_mean_of_the_loss() -> None:
    text = equations(gangraph.load("bicyclegan"))
    assert "Where a score has several entries (1 × 30 × 30 or 1 × 14 × 14), a loss is the mean over them." in text
    assert "several entries" not in equations(gangraph.load("dcgan"))


def test_the_gradient_of_a_map_is_that_of_a_sum() -> None:
    note = "The gradient of a value with several entries is that of their sum."
    has = [name for name in GALLERY if note in equations(gangraph.load(name))]
    assert has == ["cross-domain-disentanglement", "stargan", "stargan-joint", "stargan-rafd"]


def test_a_law_stands_once_for_all_that_have_it() -> None:
    assert "ε_1, ε_0, ε_cc_0 ∼ 𝒩(0, I)}[" in block("drit", "cross")
    assert "(x, c_org) ∼ p_data, order ∼ 𝔖_N, α ∼ U(0, 1)}" in block("stargan", "penalty")


def test_a_part_of_a_split_batch_runs_over_what_it_was_made_of() -> None:
    assert block("ali", "adv").startswith(
        "ℒ_adv^dis = −𝔼_{x ∼ p_data, ε ∼ 𝒩(0, I)}[log σ(s_q)] − 𝔼_{z ∼ 𝒩(0, I)}[log(1 − σ(s_p))]"
    )
    assert "ℒ_c_r = −𝔼_{x ∼ p_data}[log(p_x + η)]" in equations(gangraph.load("vae-gan"))


# --- notes


def test_formulas_in_notes_are_mathematics() -> None:
    spec = gangraph.load("munit")
    assert r"\item $\lambda_{\mathrm{cyc}} = 0$ leaves out $\mathcal{L}_{\mathrm{cc}}$." in equations(spec, "latex")
    assert "Slices are half-open: $a_{0:2}$ has the entries 0 and 1." in equations(gangraph.load("drit"), "latex")
    notes = ElementTree.fromstring(equations(spec, "mathml")).findall("ul/li")
    assert [node.text for node in notes[2].iter(f"{MATHML}mi")] == ["λ", "cyc", "ℒ", "cc"]


@pytest.mark.parametrize(
    ("sign", "note"),
    [
        (r"\bN\b(?!\()|𝔖_N", "N is the batch size."),
        (r"Σ_\{k ∈ \{0, 1", "D_k is the k-th output of a network D, or the k-th entry of a list, counted from 0."),
        (r"𝔖_N", "𝔖_N are the permutations of N entries."),
        (r"; .*\]_batch", "[a; b]_batch joins batches, one sample after the other."),
        (r"; .*\]\n", "[a; b] joins values along their first own axis: entries of vectors, channels of pictures."),
        (r"batch_split\(", "batch_split(v, n) gives n equal parts of a batch."),
        (r"[ (]split\(", "split(v, n) gives n equal parts of v along its first own axis."),
        (r"\bstep (?:[<+]|mod)", "step is the number of the iteration, from 0."),
        (r"\bepoch_step\b", "epoch_step is the number of the iteration in its epoch, from 0."),
        (r"\bstage_images\b", "stage_images is how many samples were drawn so far in the stage."),
    ],
)
def test_what_has_no_common_meaning_has_a_note_where_it_is_used(sign: str, note: str) -> None:
    names = ("ali", "bicyclegan", "cogan", "dcgan", "drit", "munit", "stargan", "stargan-joint", "stylegan", "wgan")
    found = []
    for name in names:
        formulas, _, notes = equations(gangraph.load(name)).partition("\nnotes\n")
        assert (note in notes) == bool(re.search(sign, formulas)), name
        found.append(note in notes)
    assert True in found and False in found


def test_what_is_joined_along_another_axis_says_so(tmp_path: Path) -> None:
    text = made(tmp_path, extra="expect(mean(concat(reshape(fake, 1, 2), reshape(x, 1, 2), dim=2)))")
    assert "reshape(x, 1, 2)]_2" in text and "[a; b]_k joins values along their k-th own axis." in text


def test_a_letter_of_the_spec_is_not_taken_for_another_thing() -> None:
    text = equations(gangraph.load("sparse-ae"))
    assert "Σ_{w ∈ θ_Enc^{Linear}} ‖w‖₂²" in text and "w runs over the weights" in text and "  W = 8" in text
    assert "w runs over the weights" in equations(gangraph.load("biggan"))
    assert "Pool_50(v) gives an earlier sample of v, of 50 at most that are kept" in equations(
        gangraph.load("cyclegan")
    )


# --- rules of the players


def test_what_is_done_at_a_step_stands_below_the_objective() -> None:
    assert "θ_D ← clamp(θ_D, −c, c) before each step" in block("wgan", "D, T times an iteration")
    assert block("drit", "Dc").endswith("∇_θ_Dc J_Dc ← min(1, 5 / ‖∇_θ_Dc J_Dc‖₂) ∇_θ_Dc J_Dc before each step")
    adam = "θ_F ← Adam(lr = 10⁻⁶, betas = [0, 0.99], weight_decay = 10⁻⁴) at each step"
    assert block("stargan-v2", "G_latent (a move of maker)").endswith(adam)
    assert "θ_F" not in block("stargan-v2", "G_reference (a move of maker)")  # only G is stepped there


def test_a_choice_of_how_often_a_phase_steps_is_an_equation() -> None:
    said = "T = {n_burst if step < 25 ∨ step mod 500 = 0, else n_critic}"
    assert said in block("wgan", "D, T times an iteration")
    assert block("wgan-gp", "D, n_critic times an iteration").startswith("min_D J_D = ")


def test_a_member_steps_when_and_as_often_as_its_group(tmp_path: Path) -> None:
    text = equations(gangraph.load("drit"))
    assert text.count("when epoch_step mod 3 = 2") == 6 and "when" not in block("drit", "Dc")
    nested = filled("hinge(real=D(x), fake=D(fake))", "three * expect(mean(fake))").partition("schedule:")[0] + (
        "schedule:\n  outer:\n    when: step > 1\n    repeat: three\n    moves:\n"
        "      D: {minimize: adv.discriminator, when: step < 9 or step == 5, repeat: 2}\n"
        "      G: {minimize: adv.generator + extra}\n"
    )
    text = equations(gangraph.load(written(tmp_path, nested)))
    assert "D, 2 λ_three times an iteration" in text and "when step > 1 ∧ (step < 9 ∨ step = 5)" in text
    assert "G, λ_three times an iteration" in text and "when step > 1\n" in text


def test_every_rule_has_an_equation(tmp_path: Path) -> None:
    rules = "gradient.G: clip_value(1), after.G: 'p * 0.5', before: 'clamp(p, -1, 1)'"
    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(fake))").replace(
        "G: {networks: [G], optimizer: Adam(lr=1e-3)}", f"G: {{networks: [G], optimizer: Adam(lr=1e-3), {rules}}}"
    )
    spec = gangraph.load(written(tmp_path, text))
    made = next(part for part in equations(spec).split("\n\n") if part.startswith("G\n"))
    assert "∇_θ_G J_G ← clip(∇_θ_G J_G, −1, 1)   before each step" in made
    assert "θ_G ← ½ θ_G   after each step" in made and "θ_G ← clamp(θ_G, −1, 1)   before each step" in made
    assert latex_problems(equations(spec, "latex")) == []


# --- small rules

HEAD = """
gangraph: 1
name: small
sizes: {{n: 2}}
inputs: {{x: vector(n)}}
draws: {{z: normal(n)}}
{constants}
networks:
  G: mlp([8, n])
  D: mlp([8, 1])
graph:
  fake: G(z)
losses:
  adv: {adv}
  extra: {extra}
players:
  D: {{networks: [D], optimizer: Adam(lr=1e-3)}}
  G: {{networks: [G], optimizer: Adam(lr=1e-3)}}
schedule:
  D: adv.discriminator
  {phase}: {{player: G, minimize: adv.generator + extra}}
"""


def filled(adv: str, extra: str, phase: str = "G") -> str:
    """The spec with two losses, and those of two constants that they read."""
    read = [f"{name}: {value}" for name, value in (("none", 0), ("three", 3)) if name in adv + extra]
    return HEAD.format(
        adv=adv, extra=extra, constants=f"constants: {{{', '.join(read)}}}" if read else "notes: []", phase=phase
    )


def made(tmp_path: Path, adv: str = "hinge(real=D(x), fake=D(fake))", extra: str = "expect(mean(fake))") -> str:
    return equations(gangraph.load(written(tmp_path, filled(adv, extra))))


def written(folder: Path, text: str) -> Path:
    file = folder / "small.yaml"
    file.write_text(text)
    return file


def test_a_term_whose_constant_is_zero_is_not_printed(tmp_path: Path) -> None:
    text = made(tmp_path, extra="none * expect(l1(fake, x)) + three * expect(l2(fake, x))")
    assert "ℒ_extra = λ_three 𝔼_{z ∼ 𝒩(0, I), x ∼ p_data}[‖fake − x‖₂²/m]" in text
    assert "λ_none" not in text


def test_hinge_prints_both_sides(tmp_path: Path) -> None:
    assert "𝔼_{x ∼ p_data}[max(0, 1 − D(x))] + 𝔼_{z ∼ 𝒩(0, I)}[max(0, 1 + D(fake))]" in made(tmp_path)


def test_another_fake_for_the_discriminator_is_no_game(tmp_path: Path) -> None:
    assert "min_G max_D" in made(tmp_path, adv="wasserstein(real=D(x), fake=D(fake))")
    assert "max_D" not in made(tmp_path, adv="wasserstein(real=D(x), fake=D(fake), shown=D(stop(fake)))")


def test_who_is_reached_through_a_reversal_is_on_the_other_side() -> None:
    text = equations(gangraph.load("cross-domain-disentanglement"))
    assert "min_Ex_0 max_{D_ex_0, Enc_1} V_adv_ex_0 = " in text and "min_{Enc_1, Dec_0} max_D_0 V_adv_0 = " in text
    assert "GRL(v) is v; its gradient is multiplied by −1." in text


@pytest.mark.parametrize(
    ("fake", "players", "note"),
    [
        ("reverse(fake)", "min_θ max_{D, G}", "GRL(v) is v"),
        ("reverse(reverse(fake), 2)", "min_G max_D", "GRL_s(v) is v; its gradient is multiplied by −s."),
        ("reverse(fake, s=-1)", "min_G max_D", "GRL_s(v)"),
        ("fake + reverse(fake)", "min_G max_D", "GRL(v)"),
    ],
)
def test_a_reversal_turns_a_gradient_as_often_as_it_stands(tmp_path: Path, fake: str, players: str, note: str) -> None:
    text = made(tmp_path, adv=f"wasserstein(real=D(x), fake=D({fake}))")
    assert f"{players} V_adv" in text and note in text


def test_a_blank_is_what_it_stands_for(tmp_path: Path) -> None:
    """A network whose name has the word, a constant called like the letter of a parameter."""
    text = filled("wasserstein(real=D(x), fake=D(judged))", "expect(mean(judged) * theta)")
    text = text.replace("fake: G(z)", "fake: G(z)\n  judged: [fake, value_head(_) * value, value_head]")
    text = text.replace("notes: []", "constants: {value: 3, theta: 0.02}")
    text = text.replace("networks:\n", "networks:\n  value_head: mlp([2])\n").replace("[G],", "[G, value_head],")
    text = text.replace("{networks: [G, value_head],", '{networks: [G, value_head], after: "p * (1 - theta)",')
    printed = equations(gangraph.load(written(tmp_path, text)))
    assert "judged = value_head(value_head(fake) λ_value)" in printed
    assert "θ_{G, value_head} ← θ_{G, value_head} (1 − θ)" in printed


def test_lists_inside_of_a_mean_are_written_out(tmp_path: Path) -> None:
    text = made(tmp_path, adv="average(wasserstein(real=[D(x), 2 * D(x)], fake=[D(fake), 3 * D(fake)]))")
    assert "(𝔼_{z ∼ 𝒩(0, I)}[D(fake)] + 3 𝔼" in text or "[3 D(fake)]) / 2" in text


@pytest.mark.parametrize(
    ("name", "factor", "shown"),
    [
        ("epsilon", "expect(sqrt(eps + epsilon))", "ε + epsilon"),
        ("lambda_three", "three * lambda_three * expect(mean(fake))", "three λ_three 𝔼"),
        ("sigma", "expect(sigmoid(mean(fake)) * sigma)", "σ(mean(fake)) sigma"),
        ("margin", "expect(mean(fake)) * (1 if step < margin else 0)", "step < margin"),
    ],
)
def test_a_letter_is_of_one_name(tmp_path: Path, name: str, factor: str, shown: str) -> None:
    text = filled("wasserstein(real=D(x), fake=D(fake))", factor)
    text = text.replace("constants: {", f"constants: {{{name}: 2, ").replace("notes: []", f"constants: {{{name}: 2}}")
    text = text.replace("draws: {", "draws: {eps: uniform(), " if "eps" in name else "draws: {", 1)
    assert shown in equations(gangraph.load(written(tmp_path, text)))


def test_who_minimizes_the_negative_of_a_side_is_on_the_other(tmp_path: Path) -> None:
    text = filled("wasserstein(real=D(x), fake=D(fake))", "expect(mean(fake))")
    spec = gangraph.load(written(tmp_path, text.replace("adv.generator + extra", "extra - adv.discriminator")))
    assert "min_G max_D V_adv" in equations(spec)


def test_a_weighted_game_is_a_game(tmp_path: Path) -> None:
    assert "min_G max_D V_adv = λ_three (" in made(tmp_path, adv="three * minimax(real=D(x), fake=D(fake))")


@pytest.mark.parametrize(
    ("family", "game"),
    [("minimax", True), ("fgan_kl", True), ("fgan_hellinger", True), ("lsgan", False), ("non_saturating", False)],
)
def test_a_family_is_a_game_where_its_sides_are_opposite(tmp_path: Path, family: str, game: bool) -> None:
    assert ("max_D" in made(tmp_path, adv=f"{family}(real=D(x), fake=D(fake))")) == game


@pytest.mark.parametrize(
    ("text", "expected"), [("1 - (1 - d)", "d"), ("k + 1 - 1", "k"), ("2 * r - 2 - 1", "2 * r - 3"), ("3 - 1", "2")]
)
def test_indices_are_simplified(text: str, expected: str) -> None:
    assert show(simple(parse(text))) == expected


def test_words_below_a_letter_stand_apart() -> None:
    latex = equations(gangraph.load("cyclegan"), "latex")
    assert r"\mathcal{L}_{\mathrm{gan},y}^{\mathrm{gen}}" in latex and r"\mathrm{gan\_y}" not in latex
    assert r"\lambda_{\mathrm{l1},\mathrm{weight}}" in equations(gangraph.load("bicyclegan"), "latex")
    assert r"V_{\mathrm{adv},\mathrm{ex},0}" in equations(gangraph.load("cross-domain-disentanglement"), "latex")


def test_a_parameter_is_named_by_its_network_and_its_place() -> None:
    assert block("hinge", "margin") == "ℒ_margin = ‖θ_{D,w}‖₂² / (2 C_svm N)"
    assert "own axes" not in equations(gangraph.load("hinge")) and "own axes" in equations(gangraph.load("vae-gan"))


@pytest.mark.parametrize(
    ("value", "latex", "text"),
    [(1e-4, "10^{-4}", "10⁻⁴"), (2.5e-5, r"2.5 \cdot 10^{-5}", "2.5·10⁻⁵"), (1e20, "10^{20}", "10²⁰")],
)
def test_powers_of_ten_are_raised(value: float, latex: str, text: str) -> None:
    assert (number(value).latex, number(value).text) == (latex, text)


@pytest.mark.parametrize(
    ("name", "latex", "text"),
    [
        ("D_X", "D_{X}", "D_X"),
        ("mu2", r"\mu_{2}", "μ2"),
        ("x_ref2", r"x_{\mathrm{ref2}}", "x_ref2"),
        ("fake_y", r"\mathrm{fake}_{y}", "fake_y"),
        ("eps", r"\varepsilon", "ε"),
        ("z_hat", r"\hat{z}", "ẑ"),
        ("x2_p_til", r"\tilde{x}_{2,p}", "x\u03032_p"),
        ("rho_tilde", r"\tilde{\rho}", "ρ\u0303"),
        ("hat", r"\mathrm{hat}", "hat"),
        ("fake_hat", r"\mathrm{fake}_{\mathrm{hat}}", "fake_hat"),
    ],
)
def test_names_become_letters_with_subscripts(name: str, latex: str, text: str) -> None:
    assert (symbol(name).latex, symbol(name).text) == (latex, text)


def test_accents_take_no_column() -> None:
    lines = equations(gangraph.load("ali")).partition("\nwhere\n")[2].splitlines()
    before = [line.partition(" =")[0] for line in lines[:4]]
    assert any("x\u0303" in left for left in before) and len({width(left, "text") for left in before}) == 1


def test_an_accent_is_a_part_of_its_letter() -> None:
    assert "∇_v\u0302 D_A(v\u0302)" in block("dualgan", "gp_A")


def test_a_name_that_would_read_as_a_member_stays_one_word() -> None:
    assert symbol("w2", families={"w"}).latex == r"\mathrm{w2}"


# --- hostile names


HOSTILE = r"</mi><script>alert(1)</script>$\input{x}%&#_^~{}"


def test_any_text_is_safe_inside_a_formula() -> None:
    made = escape(HOSTILE)
    assert r"\input" not in made
    assert latex_problems(f"\\begin{{align*}}\n x &= \\mathrm{{{made}}}\n\\end{{align*}}") == []


def test_hostile_members_of_an_index_cannot_become_markup(tmp_path: Path) -> None:
    bad = HOSTILE.replace("[", "").replace("]", "")
    text = filled("add(side)", "expect(mean(fake))").replace(
        "networks:", "index:\n  v: ['\"" + bad.replace("\\", "\\\\") + "\"', '\"other\"']\nnetworks:", 1
    )
    text = text.replace("losses:\n", "losses:\n  side[v]: hinge(real=D(x), fake=D(fake))\n")
    spec = gangraph.load(written(tmp_path, text))
    assert latex_problems(equations(spec, "latex")) == []
    root = ElementTree.fromstring(equations(spec, "mathml"))
    assert not [node for node in root.iter() if "script" in node.tag]


def test_the_writer_knows_a_notation_for_every_word_it_names() -> None:
    for name in vars(Writer):
        if name.startswith("_write_"):
            word = name.removeprefix("_write_")
            load = gangraph.load("gan").graph.resolved.library
            from gangraph import ops

            assert word in ops.OPERATORS or word in ops.SPECIAL or load.find(word, standard_only=True), word


def test_a_long_chain_of_values_has_equations(tmp_path: Path) -> None:
    """What an expectation runs over is found behind more names than Python has stack for."""
    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(v999))")
    chain = "".join(f"  v{i}: {f'v{i - 1}' if i else 'fake'} / 2\n" for i in range(1000))
    spec = gangraph.load(written(tmp_path, text.replace("losses:\n", f"{chain}losses:\n")))
    assert "ℒ_extra = 𝔼_{z ∼ 𝒩(0, I)}[" in equations(spec)


def test_a_weight_under_a_line_keeps_its_brackets(tmp_path: Path) -> None:
    text = filled("hinge(real=D(x), fake=D(fake))", "three * expect(mean(fake))")
    text = text.replace("adv.generator + extra", "adv.generator + extra / (2 * three)")
    spec = gangraph.load(written(tmp_path, text))
    assert "+ (1 / (2 λ_three)) ℒ_extra" in equations(spec)
    assert r"+ \frac{1}{2\,\lambda_{\mathrm{three}}}\,\mathcal{L}" in equations(spec, "latex")
    assert [t.weight for p in spec.graph.phases() for t in p.terms][-1] == "1 / (2 * three)"


# --- what is followed, bound and carried on


def test_a_family_that_is_made_of_its_next_member_has_an_end(tmp_path: Path) -> None:
    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(steps[0]))")
    chain = 'index: {k: "range(4)"}\ngraph:\n  steps[k]: fake if k == 3 else 0.5 * steps[k + 1]\n'
    found = equations(gangraph.load(written(tmp_path, text.replace("graph:\n", chain, 1))))
    assert "steps_k = {fake if k = 3, else ½ steps_{k + 1}}   for k ∈ {0, 1, 2, 3}" in found
    assert "ℒ_extra = 𝔼_{z ∼ 𝒩(0, I)}[mean(steps_0)]" in found


def test_an_expectation_inside_another_binds_its_own(tmp_path: Path) -> None:
    text = made(tmp_path, extra="expect(mean((fake - expect(x))**2))")
    assert "ℒ_extra = 𝔼_{z ∼ 𝒩(0, I)}[‖fake − 𝔼_{x ∼ p_data}[x]‖₂²/m]" in text


def test_states_say_where_they_start_and_what_they_become(tmp_path: Path) -> None:
    began = "state:\n  k: {start: 0.5, becomes: k + 0.1 * adv.generator}\n"
    began += "  m: {start: 0, becomes: 0.9 * m + 0.1 * expect(mean(fake)), in: [G]}\n"
    text = filled("hinge(real=D(x), fake=D(fake))", "(k + m) * expect(mean(fake))")
    spec = gangraph.load(written(tmp_path, text.replace("players:", began + "players:", 1)))
    found = {s.title: as_text([s]) for s in sections(spec)}["state"].split("\n")
    assert [line.strip() for line in found[1:]] == [
        "k = ½   at the start",
        "k ← k + 0.1 ℒ_adv^gen   at the end of an iteration",
        "m = 0   at the start",
        "m ← 0.9 m + 0.1 𝔼_{z ∼ 𝒩(0, I)}[mean(fake)]   after G",
    ]


def test_a_state_starts_in_the_stage_that_begins_it(tmp_path: Path) -> None:
    stages = "state: {k: {start: 0.5, becomes: k + 0.1 * adv.generator}}\n"
    stages += "stages: {one: {iterations: 2}, two: {state: {k: {becomes: 0.5 * k}}}}\n"
    text = filled("hinge(real=D(x), fake=D(fake))", "k * expect(mean(fake))") + stages
    found = equations(gangraph.load(written(tmp_path, text)))
    assert found.count("at the start") == 1 and "k ← ½ k   at the end" in found


def test_accumulation_and_rules_stand_in_the_equations_and_at_a_glance(tmp_path: Path) -> None:
    from gangraph.show import overview

    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(fake))")
    text = text.replace("D: adv.discriminator", "D: {minimize: adv.discriminator, accumulate: 3}")
    text = re.sub(r"D: \{networks: \[D\], ", "D: {networks: [D], gradient: clip_norm(1), ", text)
    spec = gangraph.load(written(tmp_path, text))
    assert "D, the mean gradient of 3 evaluations" in equations(spec)
    assert "  D (the mean gradient of 3 evaluations)\n" in overview(spec)
    assert "    gradient: clip_norm(1)\n" in overview(spec)


@pytest.mark.parametrize(
    ("decay", "update", "line"),
    [
        ("0.9", "", "θ_slow ← 0.9 θ_slow + 0.1 θ_D   at the end of an iteration"),
        ("beta", "  follow: {update: [slow]}\n", "θ_slow ← β θ_slow + (1 − β) θ_D   in follow"),
    ],
)
def test_an_average_that_an_objective_calls_is_defined(decay: str, update: str, line: str, tmp_path: Path) -> None:
    text = filled("hinge(real=D(x), fake=D(fake))", "expect(mean(slow(fake)))") + update
    text += f"averages: {{slow: 'average(D, decay={decay})', unread: 'average(G, decay=0.5)'}}\n"
    text += "constants: {beta: 0.7}\n" if decay == "beta" else ""
    found = equations(gangraph.load(written(tmp_path, text)))
    assert line in found and "unread" not in found
