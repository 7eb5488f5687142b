"""The two sides of an adversarial loss: each moves its player, sees its scores, and they pull against each other."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from gangraph.check.case import Case, Finding, Sided, Stage, nearest_calls
from gangraph.check.opposition import alike, pull
from gangraph.check.owners import cut
from gangraph.families import SIDES
from gangraph.graph import Phase
from gangraph.ir import walk


def sides(case: Case) -> Iterator[Finding]:
    """Each side of an adversarial loss moves its player, and nobody plays the other's side."""
    for stage in case.stages:
        for sided in stage.sided:
            yield from _sides(stage, sided)
        trained = stage.mask(n for phase in stage.phases for n in phase.networks)
        for phase in stage.phases:
            own = stage.owned[phase.name]
            products = [node.args for node in stage.made_of_losses([phase.objective]) if node.op == "mul"]
            factors = [a for a, b in (*products, *(p[::-1] for p in products)) if stage.feeds[id(b)] & own]
            weights = {id(node) for node in stage.made_of_losses(factors) if node.op == "loss"}
            for loss, _ in stage.minimized[phase.name]:
                feeds, name = stage.feeds[id(loss)], loss.name or ""
                side = name.rsplit(".", 1)[0] in stage.graph.sided
                # What depends on a network that nobody trains, or nothing reaches at all, is said elsewhere.
                if id(loss) in weights:
                    continue  # it says how much another term counts
                if not side and not feeds & own and not feeds & ~trained and stage.feeds[id(phase.objective)] & own:
                    fact = f"{name} is a constant for what {phase.name} trains ({', '.join(phase.networks)})"
                    help = cut(stage, loss, own) or "leave it out of this objective"
                    yield Finding(phase.place, f"schedule.{phase.name}", fact, help, f"constant({name})", warning=True)


def _sides(stage: Stage, sided: Sided) -> Iterator[Finding]:
    judges = ", ".join(stage.names(sided.judges))
    played: set[str] = set()
    for side, other in (SIDES, SIDES[::-1]):
        loss, name = sided.loss.side(side), f"{sided.name}.{side}"
        for phase in sided.phases[side]:
            played.add(side)
            fact, help = _side(stage, sided, phase, side, judges)
            if fact:
                yield Finding(phase.place, f"schedule.{phase.name}", fact, help)
        for phase in sided.maximized[side]:  # whose turn is the other side's, in a zero-sum game
            played |= {side, other}
            judge = bool(sided.judges & stage.owned[phase.name])
            if sided.judges and stage.feeds[id(loss)] & stage.owned[phase.name] and judge == (side == "discriminator"):
                fact = f"{phase.name} subtracts {name}, its own side, and so maximizes it"
                help = "both sides are quantities to minimize"
                yield Finding(phase.place, f"schedule.{phase.name}", fact, help, f"cooperative({sided.name})")
            elif (
                judge
                and side == "generator"
                and sided.real
                and not {id(n) for n in sided.real} & {id(n) for n in walk([loss])}
            ):
                fact = f"{phase.name} subtracts {name}, in which no real is scored"
                help = f"the judge's side is {sided.name}.discriminator"
                yield Finding(phase.place, f"schedule.{phase.name}", fact, help)
    yield from _shown(stage, sided)
    taught = stage.mask(n for phase in sided.phases["discriminator"] for n in phase.networks)
    apart = bool(taught and sided.phases["generator"] and not sided.judges)
    apart = apart and not taught & stage.made_of[id(sided.loss.generator)]
    if "discriminator" in played and ("generator" not in played or apart):
        named = judges or ", ".join(stage.names(taught)) or "a discriminator"
        name = stage.graph.resolved.stage
        fact = f"{named} learns {sided.name}, and nobody plays against it" + (f" in the stage {name}" if name else "")
        help = f"a phase that minimizes {sided.name}.generator is missing"
        if apart:
            help = f"{sided.name}.generator reads nothing that {named} makes"
        yield Finding(sided.loss.at, sided.path, fact, help, f"one_sided({sided.name})", warning=True)


def _shown(stage: Stage, sided: Sided) -> Iterator[Finding]:
    """The fakes that the discriminator sees have its scores, and are made by who plays against it."""
    names = [n for phase in sided.phases["generator"] for n in phase.networks]
    makers = stage.mask(names) & ~sided.judges
    word = "shown" if sided.shown != sided.fake else "fake"
    real, seen = stage.called(sided.real), stage.called(sided.shown)
    if not (sided.loss.arguments.get("real") and real and makers):
        return
    if not all(call.args for call in nearest_calls((*sided.real, *sided.shown))):
        return  # a score that is a parameter is of nothing
    scores = {word: seen, "fake": stage.called(sided.fake)}
    apart = [(what, judges) for what, judges in scores.items() if judges and not judges & real]
    made, known = (
        stage.names(makers & functools.reduce(int.__or__, map(stage.part_made_of, nodes), 0))
        for nodes in (sided.fake, sided.shown)
    )
    if apart:
        what, judges = apart[0]
        fact = f"{what} is a score of {', '.join(stage.names(judges))}, and real one of {', '.join(stage.names(real))}"
        yield Finding(sided.loss.at, sided.path, fact, "one discriminator scores both")
    elif word == "shown" and made and known and not set(made) & set(known):
        fact = f"shown is a score of what {', '.join(known)} makes, and fake of what {', '.join(made)} makes"
        yield Finding(sided.loss.at, sided.path, fact, "the discriminator sees the fakes that it judges, or older ones")
    elif not any(stage.part_made_of(node) & makers for node in sided.shown):
        fact = f"{word} is no score of what {', '.join(dict.fromkeys(names))} makes"
        yield Finding(sided.loss.at, sided.path, fact, "the discriminator sees no fakes")


def _side(stage: Stage, sided: Sided, phase: Phase, side: str, judges: str) -> tuple[str | None, str]:
    """What is wrong with a phase that minimizes a side."""
    own, reach, name = stage.owned[phase.name], stage.feeds[id(sided.loss.side(side))], f"{sided.name}.{side}"
    if not reach & own:
        if not stage.feeds[id(phase.objective)] & own:
            return None, ""  # nothing reaches it, which is said already
        help = cut(stage, sided.loss.side(side), own) or f"it does not depend on {', '.join(phase.networks)}"
        return f"{name} passes no gradient to {', '.join(phase.networks)}", help
    makers = ~sided.judges
    for node in sided.real if own & sided.judges else ():  # a trunk in front of the judge sees reals too
        makers &= ~stage.made_of[id(node)]
    if sided.judges and side == "generator" and not reach & own & makers:
        fact = f"{name} is minimized by {phase.name}, which trains nothing but the judge {judges}"
        return fact, f"{sided.name}.discriminator is the side of {judges}"
    if sided.judges and side == "discriminator" and not sided.judges & own:
        fact = f"{name} is minimized by {phase.name}, which does not train the judge {judges}"
        return fact, f"{sided.name}.generator is the side of who is judged"
    if side == "discriminator":
        scores = {kind: nodes for kind, nodes in (("a real", sided.real), ("a fake", sided.shown)) if nodes}
        deaf = [kind for kind, nodes in scores.items() if not any(stage.feeds[id(n)] & own for n in nodes)]
        if len(deaf) == 1 and len(scores) == 2:
            fact = f"{judges or name} learns nothing from the score of {deaf[0]}"
            return fact, cut(stage, scores[deaf[0]][0], own) or "`frozen` and averages are constants"
    return None, ""


def opposition(case: Case) -> Iterator[Finding]:
    """The sides of a two-sided loss somewhere pull the score of the fake in opposite directions."""
    verdicts: dict[object, str | None] = {}
    for stage in case.stages:
        for sided in stage.sided:
            key = alike(sided)
            if key not in verdicts:
                verdicts[key] = pull(sided)
            fact = verdicts[key]
            if fact:
                help = "a sign or a label of one side is turned" if sided.shown else "its term for the fakes is missing"
                yield Finding(sided.loss.at, sided.path, fact, help, f"cooperative({sided.name})")
