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
    """Texts of valid specs: one to three discriminators, perhaps an encoder, shared trunks, penalties, schedules."""
    return _specs()


@st.composite
def _specs(draw: DrawFn) -> str:
    maker = _Maker(draw)
    return maker.text()


class _Maker:
    def __init__(self, draw: DrawFn):
        self.draw = draw
        self.image = self.chance()
        self.judges = [f"D{i or ''}" for i in range(self.of(1, 1, 2, 3))]
        self.encoder, self.shared = self.chance(), self.chance()
        self.pool, self.average, self.state = self.chance(), self.chance(), self.chance()
        self.penalty = self.of(None, "gradient", "r1")

    def of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self) -> bool:
        return bool(self.draw(st.booleans()))

    # --- networks: chains from one shape to another

    def hidden(self, normed: bool) -> str:
        norms = ["", "", ", Dropout(0.3)", *([", BatchNorm1d()"] if normed else [", LayerNorm()"])]
        return f"Linear({self.of(3, 4, 5)}){self.of(*norms)}, {self.of(*ACTIVATIONS)}"

    def generator(self, name: str) -> list[str]:
        lines = [f"  {name}:", *(f"  - {self.hidden(True)}" for _ in range(self.of(0, 1, 2)))]
        if not self.image:
            return [*lines, f"  - Linear(X){self.of('', ', Tanh()')}"]
        norm = self.of("", "BatchNorm2d(), ", "InstanceNorm2d(), ")
        return [
            *lines,
            "  - Linear(12), reshape(_, 3, 2, 2)",
            f"  - Upsample(2), Conv2d(3, 3, padding=1), {norm}{self.of(*ACTIVATIONS)}",
            "  - ConvTranspose2d(1, 4, stride=2, padding=1), Tanh()",
        ]

    def features(self) -> list[str]:
        if not self.image:
            return [f"  - {self.hidden(False)}"]
        mode = self.of("", ', padding_mode="reflect"')
        return [f"  - Conv2d(2, 4, stride=2, padding=1{mode}), {self.of(*ACTIVATIONS[1:5])}", "  - Flatten()"]

    def networks(self) -> list[str]:
        lines = ["networks:", *self.generator("G")]
        if self.shared:
            lines += ["  trunk:", *self.features()]
        for name in self.judges:
            begin = ["  - trunk"] if self.shared else self.features()
            last = self.of("Linear(1)", "Linear(1)", "SpectralNorm(Linear(1))" if not self.penalty else "Linear(1)")
            lines += [f"  {name}:", *begin, f"  - {self.hidden(False)}", f"  - {last}"]
        if self.encoder:
            lines += ["  E:", "  - Flatten(), Linear(4), Tanh(), Linear(Z)" if self.image else "  - Linear(Z)"]
        return lines

    # --- the game

    def losses(self) -> list[str]:
        lines = ["losses:"]
        for i, name in enumerate(self.judges):
            shown = f", shown={name}(old)" if self.pool and i == 0 else ""
            lines.append(f"  adv{i}: {self.of(*FAMILIES)}(real={name}(x), fake={name}(fake){shown})")
        if self.penalty == "gradient":
            lines.append("  penalty: expect((norm(grad(D(between), between)) - 1)**2)")
        if self.penalty == "r1":
            lines.append("  penalty: 0.5 * expect(sum(grad(D(x), x)**2))")
        if self.encoder:
            lines.append(f"  cycle: expect({self.of('l1', 'l2')}(E(fake), z))")
            lines.append(f"  rec: expect({self.of('l1', 'l2')}(G(E(x)), x))")
        return lines

    def moves(self) -> list[str]:
        lines = []
        for i, name in enumerate(self.judges):
            terms = [f"adv{i}.discriminator", *(["w * penalty"] if self.penalty and i == 0 else [])]
            options = [f"minimize: {' + '.join(terms)}"]
            options += self.of([], [], ["repeat: 2"], ["repeat: 2", "batch: fresh"], ["when: step % 2 == 0"])
            if "batch: fresh" not in options and not self.pool:
                options += self.of([], [], ["accumulate: 2"]) if not self.penalty else []
            lines.append([name, options])
        sides = [f"adv{i}.generator" for i in range(len(self.judges))]
        weights = [self.of("", "w * ", "0.5 * ", "decay * ") for _ in sides]
        terms = [f"{w}{side}" for w, side in zip(weights, sides, strict=True)]
        terms += ["w * cycle", "rec"] if self.encoder else []
        lines.append(["G", [f"minimize: {' + '.join(terms)}"]])
        if self.encoder and self.chance():
            lines.append(["again", ["player: G", "minimize: rec", *(["networks: [E]"] if self.chance() else [])]])
        if self.chance():
            lines.reverse()
        plain = all(len(options) == 1 or options[0].startswith("player") for _, options in lines)
        pad = "      " if plain and self.chance() else "  "
        head = ["schedule:", *(["  all:", "    together:"] if len(pad) > 2 else [])]
        return head + [t for name, options in lines for t in (f"{pad}{name}:", *(f"{pad}  {o}" for o in options))]

    def text(self) -> str:
        lines = ["inputs:", f"  x: {'image(1, 8, 8)' if self.image else 'vector(X)'}"]
        lines += ["draws:", f"  z: {self.of('normal(Z)', 'uniform(Z, low=-1, high=1)')}"]
        lines += ["  eps: uniform()"] if self.penalty == "gradient" else []
        lines += [*self.networks(), "graph:", "  fake: G(z)"]
        lines += ["  between: lerp(x, fake, eps)"] if self.penalty == "gradient" else []
        lines += ["  old: replay(fake, 3)"] if self.pool else []
        lines += self.losses()
        lines += ["players:"]
        for name in self.judges:
            rule = self.of(None, None, *RULES)
            lines += [f"  {name}:", f"    networks: [{name}]", f"    optimizer: {self.of(*OPTIMIZERS)}"]
            lines += [f"    {rule}"] if rule else []
        owned = "[G, E]" if self.encoder else "[G]"
        lines += ["  G:", f"    networks: {owned}", f"    optimizer: {self.of(*OPTIMIZERS)}"]
        lines += self.moves()
        lines += ["averages:", "  G_ema: average(G, decay=0.9)"] if self.average else []
        lines += ["train: {batch: 4}"]
        if self.shared and len(self.judges) > 1:
            lines += ["meant:", "- shared(trunk)"]
        return "\n".join([*self.head("\n".join(lines)), *lines]) + "\n"

    def head(self, rest: str) -> list[str]:
        """Only what is read is declared."""
        lines = ["gangraph: 1", "name: random", "sizes:", "  Z: 2", *(["  X: 3"] if not self.image else [])]
        read = [
            f"  {name}: {value}" for name, value in CONSTANTS.items() if re.search(rf"\b{name} *\*|\* *{name}\b", rest)
        ]
        return [*lines, *(["constants:", *read] if read else [])]
