"""Whole random games as texts of spec files: every one of them passes `check`."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

ACTIVATIONS = ("ReLU()", "LeakyReLU(0.2)", "Tanh()", "ELU()", "Softplus()", "PReLU()")
FAMILIES = ("lsgan", "non_saturating", "hinge", "wasserstein")
CONSTANTS = {"w": "0.7", "decay": "1 / (1 + step)"}
OPTIMIZERS = (
    "SGD(lr=0.01)",
    "SGD(lr=0.01, momentum=0.9)",
    "Adam(lr=0.001, betas=[0.5, 0.999])",
    "Adam(lr=0.001 * decay, weight_decay=0.01)",
    "RMSprop(lr=0.001)",
)
RULES = ("gradient: clip_norm(0.5)", "gradient: clip_value(0.1)", "after: clamp(p, -0.5, 0.5)")


def specs() -> SearchStrategy[str]:
    """Texts of valid specs: one to three discriminators, perhaps as a family, perhaps each with a stream of its own;
    perhaps an encoder, shared trunks, penalties; schedules, with conditions on clocks, losses and state.
    """
    return _specs()


@st.composite
def _specs(draw: DrawFn) -> str:
    maker = _Maker(draw)
    return maker.text()


class _Maker:
    def __init__(self, draw: DrawFn):
        self.draw = draw
        self.image, self.labels = self.chance(), self.chance()
        count = self.of(1, 1, 2, 2, 3)
        self.family = count > 1 and self.chance()
        self.streams = self.family and not self.labels and self.chance()
        self.x = "x[0]" if self.streams else "x"
        self.judges = [f"D[{i}]" if self.family else f"D{i or ''}" for i in range(count)]
        self.sides = [f"adv[{i}]" if self.family else f"adv{i}" for i in range(count)]
        self.encoder, self.shared = self.chance(), self.chance()
        self.pool = not self.labels and self.chance()  # old fakes would be judged beside labels of now
        self.average, self.state = self.chance(), self.chance()
        self.once = self.of(None, None, "z", "fake")
        self.penalty = self.of(None, "gradient", "r1")

    def of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    # --- networks: chains from one shape to another; with labels, graphs of one chain

    def network(self, name: str, first: str, items: list[str]) -> list[str]:
        """A network by its chain; `first` is its input, beside which it may take labels."""
        if not self.labels:
            return [f"  {name}:", *(f"  - {item}" for item in items)]
        begin = "concat(z, one_hot(y, K))" if first == "z" else first
        lines = [f"  {name}:", f"    inputs: [{first}, y]", "    output:", f"    - {begin}"]
        return lines + [f"    - {item}" for item in items]

    def call(self, name: str, value: str) -> str:
        return f"{name}({value}, y)" if self.labels else f"{name}({value})"

    def hidden(self, normed: bool) -> str:
        norms = ["", "", ", Dropout(0.3)", *([", BatchNorm1d()"] if normed else [", LayerNorm()"])]
        return f"Linear({self.of(3, 4, 5)}){self.of(*norms)}, {self.of(*ACTIVATIONS)}"

    def generator(self) -> list[str]:
        items = [self.hidden(True) for _ in range(self.of(0, 1, 2))]
        if self.image:
            norm = self.of("", "BatchNorm2d(), ", "InstanceNorm2d(), ")
            items += ["Linear(12), reshape(_, 3, 2, 2)"]
            items += [f"Upsample(2), Conv2d(3, 3, padding=1), {norm}{self.of(*ACTIVATIONS)}"]
            items += ["ConvTranspose2d(1, 4, stride=2, padding=1), Tanh()"]
        else:
            items += [f"Linear(X){self.of('', ', Tanh()')}"]
        self.normed = any("BatchNorm" in item for item in items)
        return items

    def features(self) -> list[str]:
        if not self.image:
            return [self.hidden(False)]
        mode = self.of("", ', padding_mode="reflect"')
        return [f"Conv2d(2, 4, stride=2, padding=1{mode}), {self.of(*ACTIVATIONS[1:5])}", "Flatten()"]

    def head(self) -> str:
        """The last layer of a judge: one score, or that of the sample's label among one for each class."""
        last, pick = ("Linear(K)", ", select(_, y)") if self.labels else ("Linear(1)", "")
        return str(self.of(last, last, last if self.penalty else f"SpectralNorm({last})")) + pick

    def networks(self) -> list[str]:
        lines = ["networks:", *self.network("G", "z", self.generator())]
        if self.shared:
            lines += ["  trunk:", *(f"  - {item}" for item in self.features())]
        for name in ["D[d]"] if self.family else self.judges:
            begin = ["trunk"] if self.shared else self.features()
            lines += self.network(name, "x", [*begin, self.hidden(False), self.head()])
        if self.encoder:
            lines += ["  E:", "  - Flatten(), Linear(4), Tanh(), Linear(Z)" if self.image else "  - Linear(Z)"]
        return lines

    # --- the game

    def losses(self) -> list[str]:
        lines = ["losses:"]
        judges, sides = (["D[d]"], ["adv[d]"]) if self.family else (self.judges, self.sides)
        for i, (name, side) in enumerate(zip(judges, sides, strict=True)):
            shown = f", shown={self.call(name, 'old')}" if self.pool and i == 0 else ""
            real = "x[d]" if self.streams else "x"
            scores = f"real={self.call(name, real)}, fake={self.call(name, 'fake')}{shown}"
            lines.append(f"  {side}: {self.of(*FAMILIES)}({scores})")
        index = "[d]" if self.family else ""
        if self.penalty == "gradient":
            score = self.call(judges[0], "between")
            lines.append(f"  penalty{index}: expect((norm(grad({score}, between)) - 1)**2)")
        if self.penalty == "r1":
            lines.append(f"  penalty{index}: 0.5 * expect(sum(grad({self.call(judges[0], self.x)}, {self.x})**2))")
        if self.encoder:
            lines.append(f"  cycle: expect({self.of('l1', 'l2')}(E(fake), z))")
            lines.append(f"  rec: expect({self.of('l1', 'l2')}({self.call('G', f'E({self.x})')}, {self.x}))")
        return lines

    def moves(self) -> tuple[list[list[Any]], bool]:
        """The moves in order, each with its options; whether all are one group."""
        moves: list[list[Any]] = []
        index = "[d]" if self.family else ""
        judges = [("D[d]", "adv[d]")] if self.family else list(zip(self.judges, self.sides, strict=True))
        for i, (name, side) in enumerate(judges):
            terms = [f"{side}.discriminator", *([f"w * penalty{index}"] if self.penalty and i == 0 else [])]
            options = [f"minimize: {' + '.join(terms)}"]
            held = self.once == "fake" and self.labels  # made of a batch's labels, it is none of a fresh batch
            fresh = ["repeat: 2", *([] if held else ["batch: fresh"])]
            options += self.of([], [], ["repeat: 2"], fresh, ["when: step % 2 == 0"])
            if not ("batch: fresh" in options or self.pool or self.once or self.penalty or self.normed):
                options += self.of([], [], ["accumulate: 2"])
            moves.append([name, options])
        sides = [f"{side}.generator" for side in self.sides]
        if self.family and self.chance():
            sides = [self.of("add(adv.generator)", "average(adv.generator)")]
        weights = [self.of("", "w * ", "0.5 * ", "decay * ", *(["k * "] if self.state else [])) for _ in sides]
        terms = [f"{w}{side}" for w, side in zip(weights, sides, strict=True)]
        terms += ["w * cycle", "rec"] if self.encoder else []
        moves.append(["G", [f"minimize: {' + '.join(terms)}"]])
        if self.encoder and self.chance():
            moves.append(["again", ["player: G", "minimize: rec", *(["networks: [E]"] if self.chance() else [])]])
        if self.chance():
            moves.reverse()
        plain = all(len(options) == 1 or options[0].startswith("player") for _, options in moves)
        together = plain and not self.once and self.chance()
        self.conditions(moves, together)
        return moves, together

    def conditions(self, moves: list[list[Any]], together: bool) -> None:
        """Some moves run only where a loss is below or above something: one that a move before has surely seen."""
        seen: list[str] = []
        for name, options in moves:
            plain = not any(option.startswith(("when", "repeat")) for option in options)
            own = [f"{s}.discriminator" for j, s in zip(self.judges, self.sides, strict=True) if name in (j, "D[d]")]
            own += [f"{self.sides[0]}.generator"] if name == "G" else []
            known = own if together else seen
            if plain and known and name != "again" and self.chance():
                also = self.of("", "", " or step % 3 == 0", " and step < 5", *([" or k > 0.5"] if self.state else []))
                options.append(f"when: {self.of(*known)} {self.of('<', '>')} {self.of(0.3, 1, 2)}{also}")
            elif name != "again" and not any(option.startswith("when") for option in options):
                seen += own

    def schedule(self, moves: list[list[Any]], together: bool) -> list[str]:
        pad = "      " if together else "  "
        head = ["schedule:", *(["  all:", "    together:"] if together else [])]
        return head + [t for name, options in moves for t in (f"{pad}{name}:", *(f"{pad}  {o}" for o in options))]

    def states(self, text: str, together: bool) -> list[str]:
        """A number that follows the generator's loss, at the end of an iteration or after a phase."""
        if not re.search(r"\bk\b", text):
            return []
        becomes = f'"clamp(k + 0.1 * {self.sides[0]}.generator, 0, 1)"'
        sure = together or not re.search(
            r"  G:\n(?:    .*\n)*    when:", text
        )  # at the end, the loss has been evaluated
        where = [] if together else self.of([], ["in: [G]"]) if sure else ["in: [G]"]
        return ["state:", f"  k: {{{', '.join(['start: 0.5', f'becomes: {becomes}', *where])}}}"]

    def stages(self, text: str) -> list[str]:
        """A first stage of one iteration, and a second one that changes a little."""
        if not self.chance():
            return []
        changes = ["reset: [G]"] if self.chance() else ["reset: [D, G]"]
        changes += ["constants: {w: 1.1}"] if re.search(r"\bw \*", text) and self.chance() else []
        changes += [f'players: {{G: {{optimizer: "{self.of(*OPTIMIZERS[:2])}"}}}}'] if self.chance() else []
        return ["stages:", "  first: {iterations: 1}", f"  second: {{{', '.join(changes)}}}"]

    def text(self) -> str:
        kind = "image(1, 8, 8)" if self.image else "vector(X)"
        lines = ["index:", f"  d: range({len(self.judges)})"] if self.family else []
        lines += ["inputs:", *([] if self.streams else [f"  x: {kind}"])]
        for i in range(len(self.judges)) if self.streams else ():
            lines += [f"  stream{i}:", f"    x[{i}]: {kind}"]
        lines += ["  y: label(K)"] if self.labels else []
        lines += ["draws:", f"  z: {self.of('normal(Z)', 'uniform(Z, low=-1, high=1)')}"]
        lines += ["  eps: uniform()"] if self.penalty == "gradient" else []
        lines += [*self.networks(), "graph:", f"  fake: {self.call('G', 'z')}"]
        lines += [f"  between: lerp({self.x}, fake, eps)"] if self.penalty == "gradient" else []
        lines += ["  old: replay(fake, 3)"] if self.pool else []
        lines += [f"once: [{self.once}]"] if self.once else []
        lines += self.losses()
        lines += ["players:"]
        for name in ["D[d]"] if self.family else self.judges:
            rule = self.of(None, None, *RULES)
            lines += [f"  {name}:", f'    networks: ["{name}"]', f"    optimizer: {self.of(*OPTIMIZERS)}"]
            lines += [f"    {rule}"] if rule else []
        owned = "[G, E]" if self.encoder else "[G]"
        lines += ["  G:", f"    networks: {owned}", f"    optimizer: {self.of(*OPTIMIZERS)}"]
        moves, together = self.moves()
        lines += self.schedule(moves, together)
        lines += self.states("\n".join(lines), together)
        lines += ["averages:", "  G_ema: average(G, decay=0.9)"] if self.average else []
        lines += ["train: {batch: 4}"]
        lines += self.stages("\n".join(lines))
        if self.shared and len(self.judges) > 1:
            lines += ["meant:", "- shared(trunk)"]
        return "\n".join([*self.top("\n".join(lines)), *lines]) + "\n"

    def top(self, rest: str) -> list[str]:
        """Only what is read is declared."""
        sizes = ["  Z: 2", *(["  X: 3"] if not self.image else []), *(["  K: 3"] if self.labels else [])]
        lines = ["gangraph: 1", "name: random", "sizes:", *sizes]
        read = [
            f"  {name}: {value}" for name, value in CONSTANTS.items() if re.search(rf"\b{name} *\*|\* *{name}\b", rest)
        ]
        return [*lines, *(["constants:", *read] if read else [])]
