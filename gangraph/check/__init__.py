"""Schedules -> problems: what can be known to be wrong, or worth a warning, before a tensor exists.

Each check is a function that yields what it found; `meant` takes back what has a name. What a spec inherits is its
parent's affair: a thing that nobody reads is a problem where it is written.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from gangraph import ops
from gangraph.check import kinds, lifetime, times
from gangraph.check.case import Case, Finding, Sided, Stage, averaged, modules, nearest_calls
from gangraph.check.opposition import alike, never, pull
from gangraph.check.read import read_by
from gangraph.errors import Fact, Place, Problem, nearest
from gangraph.expressions import Call, Expr, Name, names, show
from gangraph.families import SIDES, family_of
from gangraph.graph import Phase, Step
from gangraph.initial import check_init
from gangraph.ir import Module, Node, visit, walk
from gangraph.layers import LAYERS, WRAPPERS
from gangraph.prepare import steps
from gangraph.routing import passing
from gangraph.schedule import Schedule
from gangraph.spec import TwoSides, expressions
from gangraph.values import known

CORE = frozenset(
    {
        *ops.OPERATORS,
        *ops.SPECIAL,
        *ops.INITIALIZERS,
        *ops.SCALAR_FUNCTIONS,
        *ops.CONSTANTS,
        *ops.VIEWS,
        *LAYERS,
        *WRAPPERS,
    }
)
MEANT = {
    "shared": "several players train this network",
    "cooperative": "the two sides of this loss pull the same way",
    "one_sided": "nobody plays the other side of this loss",
    "unreached": "some parameters of this network are never trained",
    "constant": "this loss passes no gradient to a phase that minimizes it",
    "unread": "nobody reads this value, or an input of this network",
    "untrained": "a spec without phases",
    "once": "this entry of `once` changes nothing",
    "probability": "this loss takes the probability, or the score, that it gets",
    "ranges": "this network sees reals and fakes of unequal ranges, or this loss compares such values",
    "domains": "this loss compares values of two domains",
    "unpaired": "this loss compares samples that do not belong together, or judges them side by side",
    "batch_coupled": "samples see each other in this network under a penalty",
    "stretched": "this loss compares values of different shapes",
    "averaged": "this loss takes the derivative of a mean over the batch by what each sample has",
    "random": "this network is frozen at random weights",
    "accumulate": "accumulation changes this phase's objective",
    "left_out": "this state reads a loss of a phase that a condition may leave out",
}


def check(schedules: tuple[Schedule, ...]) -> list[Problem]:
    """Every problem of a spec whose values have been inferred; warnings that `meant` declares are left out."""
    case = Case(schedules)
    first: dict[object, Finding] = {}  # of several with one name, one is enough
    for finding in (finding for rule in RULES for finding in rule(case)):
        first.setdefault((finding.name, finding.path) if finding.name else finding, finding)
    found = list(first.values())
    problems = []
    for finding in _as_families(sorted(_unmeant(case, found), key=lambda f: f.place)):
        problem = case.sources.problem(finding.place, finding.path, Fact(finding.fact, _help(finding)))
        problems.append(replace(problem, warning=finding.name if finding.warning else None))
    return list(dict.fromkeys(problems))


def _as_families(findings: Iterable[Finding]) -> list[Finding]:
    """Members of a family of which the same is to be said are one finding."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.place, _headed(finding.fact), finding.name and _headed(finding.name)), []).append(
            finding
        )
    made = []
    for first, *others in groups.values():
        if others:
            fact = f"{first.fact}, and the same of {len(others)} more of the family"
            first = replace(first, fact=fact, name=first.name and _headed(first.name))
        made.append(first)
    return made


def _headed(text: str) -> str:
    """A text with families in place of their members."""
    return re.sub(r"(?<=\w)\[[^\]]*\]", "", text)


def _help(finding: Finding) -> str | None:
    if finding.name is None or finding.warning:
        return finding.help
    meant = f'if it is meant: `meant: ["{finding.name}"]`'
    return f"{finding.help}; {meant}" if finding.help else meant


# --- meant ----------------------------------------------------------------------------------------------------------


def _unmeant(case: Case, found: list[Finding]) -> Iterator[Finding]:
    """What `meant` does not declare; and entries of `meant` that declare nothing."""
    families = {
        family: list(members.values()) for s in case.stages for family, members in s.graph.resolved.families.items()
    }
    declared: set[str] = set()
    for expr in case.spec.file.meant:
        known = expr.function.id if isinstance(expr, Call) and isinstance(expr.function, Name) else show(expr)
        if known not in MEANT or not isinstance(expr, Call) or len(expr.arguments) != 1 or expr.keywords:
            hint = nearest(known, MEANT) if known not in MEANT else f'as in "{known}(NAME)"'
            yield Finding(
                expr.at, "meant", f"no warning is called '{show(expr)}'", hint or f"the warnings are {', '.join(MEANT)}"
            )
            continue
        subject = show(expr.arguments[0])
        texts = {f"{known}({name})" for name in [subject, *families.get(subject, ())]}
        declared |= texts
        if case.own(expr) and not any(f.name in texts for f in found):
            yield Finding(expr.at, "meant", f"{show(expr)} declares nothing: no such thing was found", "remove it")
    yield from (f for f in found if f.name not in declared)


# --- dead things ----------------------------------------------------------------------------------------------------


def dead_names(case: Case) -> Iterator[Finding]:
    """Sizes, constants, indices, inputs, draws and tensors of state that nobody reads; values, as a warning."""
    read = case.read
    words = {"sizes": "size", "constants": "constant", "index": "index", "state": "state"}
    for section, word in words.items():
        for name, place in _declared(case, section).items():
            state = case.stages[-1].graph.state.get(name) if section == "state" else None
            if section == "state" and (state is None or state.node.type.host):
                continue  # training logs it; or it is a problem itself
            if case.own(place) and name not in read.names:
                yield Finding(place, f"{section}.{name}", f"nobody reads the {word} {name}", "use it, or remove it")
    for section in ("inputs", "draws", "values"):
        for stage in case.stages[-1:]:
            for member in getattr(stage.graph.resolved, section):
                heads = [family_of(name) for name in member.names]
                if not case.own(member.place) or any(head in read.names or head.startswith("_") for head in heads):
                    continue
                if section == "values":
                    fact = f"nobody reads the value {', '.join(dict.fromkeys(heads))}"
                    yield Finding(
                        member.place,
                        f"graph.{heads[0]}",
                        fact,
                        "use it, or remove it",
                        f"unread({heads[0]})",
                        warning=True,
                    )
                else:
                    yield Finding(
                        member.place, f"{section}.{heads[0]}", f"nobody reads {heads[0]}", "use it, or remove it"
                    )


def formulas(case: Case) -> Iterator[Finding]:
    """Functions, families and blocks of the spec's own read all their parameters, and beside them the library alone.

    Also those that nobody calls, of which nothing else is ever said.
    """
    declared = {family_of(name): place for s in case.stages for name, place in s.graph.resolved.places.items()}
    for library in {id(s.graph.resolved.library): s.graph.resolved.library for s in case.stages}.values():
        for word in library.own.values():
            if word.kind == "layers" or not case.own(word.at):
                continue
            path, parameters = f"{word.kind}.{word.name}", [name for name, _ in word.parameters]
            body, known = word.read(), {*CORE, *library.names(), *parameters, "_"}
            read = read_by(body)
            if word.name in declared:
                there = declared[word.name].seen_from(word.at)
                yield Finding(word.at, path, f"what is called {word.name} in {there} hides it", "choose another name")
            for name in sorted(read - known):
                at = next((n.at for e in expressions(body) for n in names(e) if n.id == name), word.at)
                hint = nearest(name, known) or f"its parameters are {', '.join(parameters)}"
                yield Finding(at, path, f"nothing is called '{name}' in here", hint)
            misspelt = not read <= known
            read |= {name for _, default in word.parameters if default is not None for name in read_by(default)}
            for name in parameters:
                if name not in read and not misspelt:
                    fact = f"{word.name} does not read its parameter {name}"
                    yield Finding(word.at, path, fact, "use it, or leave it out")


def _declared(case: Case, section: str) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for stage in case.stages:
        for name in getattr(stage.graph.resolved.spec.file, section):
            found.setdefault(str(name), getattr(name, "place", case.spec.place))
    return found


def dead_losses(case: Case) -> Iterator[Finding]:
    """Losses that no phase minimizes and nothing else reads."""
    read = case.read
    for stage in case.stages[-1:]:
        for member in stage.graph.resolved.losses:
            head = family_of(member.name)
            if case.own(member.place) and head not in read.losses and member.name not in read.losses:
                help = "write it into a phase of the schedule, or remove it"
                yield Finding(
                    member.place,
                    f"losses.{member.name}",
                    f"nobody minimizes the loss {member.name}, and nothing reads it",
                    help,
                )


def dead_values_inside(case: Case) -> Iterator[Finding]:
    """Values of a network written as a graph that none of its outputs reads, and inputs of networks."""
    for (place, name), read in case.inner_values.items():
        if not read:
            network = name.split(".")[0]
            help = "its layers would hold parameters that nothing trains: remove it, or let an output read it"
            yield Finding(place, f"networks.{name}", f"no output of {network} reads this value", help)
    for network, ignored in case.ignored_inputs.items():
        fact = f"{network} makes nothing of its input {' and '.join(ignored)}"
        place = case.stages[-1].graph.networks[network].at
        help = "read it, or leave it out"
        yield Finding(place, f"networks.{network}", fact, help, f"unread({network})", warning=True)


def dead_phases(case: Case) -> Iterator[Finding]:
    """Moves that can never run, in any stage; a spec that has none."""
    if not any(stage.phases for stage in case.stages):
        help = "players say who owns what, and the schedule who minimizes what"
        yield Finding(
            case.spec.place,
            "schedule",
            "nobody is trained: no phase minimizes anything",
            help,
            "untrained(schedule)",
            warning=True,
        )
    runs: dict[str, bool] = {}
    seen: dict[str, tuple[Step | Phase, str]] = {}
    for stage in case.stages:
        for step in stage.graph.steps():
            moves: list[Step | Phase] = [step, *(p for p in step.phases if step.kind == "group")]
            for move in moves:
                why = _never(move)
                runs[move.name] = runs.get(move.name, False) or why is None
                if why:
                    seen[move.name] = (move, why)
    for name, (move, why) in seen.items():
        if not runs[name] and case.own(move.place):
            yield Finding(move.place, f"schedule.{name}", f"{name} never runs: {why}")


def _never(move: Step | Phase) -> str | None:
    if move.when is False or (isinstance(move.when, Node) and (move.when.value is False or move.when.value == 0)):
        return "its `when` is false"
    if isinstance(move.when, Node) and move.when.value is None and never(move.when):
        return "its `when` is false at every clock"
    return "its `repeat` is 0" if move.repeat == 0 else None


def stage_keys(case: Case) -> Iterator[Finding]:
    """How long each stage is, and whose optimizers begin anew."""
    for number, stage in enumerate(case.stages):
        resolved = stage.graph.resolved
        if not resolved.stage:
            continue
        path, keys = f"stages.{resolved.stage}", resolved.keys
        place = resolved.spec.place
        ends = [k for k in ("iterations", "images") if getattr(keys, k) is not None]
        if len(ends) == 2:
            yield Finding(place, path, "a stage ends after `iterations` or after `images`, not both")
        if not ends and number < len(case.stages) - 1:
            yield Finding(
                place, path, "this stage never ends, and another comes after it", "say `iterations:` or `images:`"
            )
        for key in ends:
            yield from _length(stage, path, key, getattr(keys, key))
        for expr in keys.reset:
            text = show(expr)
            players = [*(member.name for member in resolved.players), *resolved.player_families]
            if text not in players:
                yield Finding(expr.at, f"{path}.reset", f"no player is called '{text}'", nearest(text, players))


def _length(stage: Stage, path: str, key: str, expr: Expr) -> Iterator[Finding]:
    try:
        value = known(stage.graph.resolved, expr)
    except Fact as fact:
        yield Finding(fact.place or expr.at, f"{path}.{key}", fact.message, fact.help)
        return
    value = value.value if isinstance(value, Node) else value
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 1:
        yield Finding(
            expr.at, f"{path}.{key}", f"{key} is a number of at least 1, known before the run, not {show(expr)}"
        )


def recipes(case: Case) -> Iterator[Finding]:
    """`init`, `prepare` and `train` mean something."""
    done: list[tuple[Any, Any]] = []
    for stage in reversed(case.stages):  # in the last one all networks are known
        file = stage.graph.resolved.spec.file
        if (file.init, file.prepare) in done:
            continue
        done.append((file.init, file.prepare))
        for key, fact in check_init(stage.graph):
            place = fact.place or stage.graph.resolved.spec.place
            if case.own(place):
                yield Finding(place, f"init.{key}", fact.message, fact.help)
        try:
            steps(stage.graph)
        except Fact as fact:
            yield Finding(fact.place or stage.graph.resolved.spec.place, "prepare", fact.message, fact.help)
    stage = case.stages[0]
    train = stage.graph.resolved.spec.file.train
    for key in ("iterations", "epochs", "images"):
        expr = getattr(train, key)
        if expr is not None:
            yield from _length(stage, "train", key, expr)


def ignored_options(case: Case) -> Iterator[Finding]:
    """Options of an optimizer that it does not read."""
    for stage in case.stages:
        for member in stage.graph.resolved.players:
            player = stage.graph.players.get(member.name)
            if player is None:  # it is a problem itself
                continue
            exprs = [
                ("optimizer", member.body.optimizer),
                *((k, e) for k, e in member.body.parts.items() if k.startswith("optimizer.")),
            ]
            for (key, expr), optimizer in zip(exprs, player.optimizers.values(), strict=False):
                arguments = optimizer.arguments
                if optimizer.name == "SGD" and not arguments.get("momentum"):
                    for option, value in expr.keywords:
                        if option in ("nesterov", "dampening"):
                            yield Finding(
                                value.at,
                                f"players.{player.name}.{key}",
                                f"SGD ignores {option} without momentum",
                                "give momentum=..., or remove it",
                            )


# --- ownership ------------------------------------------------------------------------------------------------------


def owners(case: Case) -> Iterator[Finding]:
    """Every parameter belongs to one player, or to nobody and is frozen; every player plays."""
    used: set[str] = set()
    trained: dict[str, set[str]] = {}
    owned: set[str] = set()
    for stage in case.stages:
        for phase in stage.phases:
            used.add(phase.player)
            for name in stage.names(stage.owned[phase.name]):
                trained.setdefault(name, set()).add(phase.player)
        for player in stage.graph.players.values():
            owned |= set(stage.names(stage.mask(player.networks)))
    stage = case.stages[-1]
    yield from _frozen(stage)
    for player in stage.graph.players.values():
        if player.name not in used and case.own(player.place):
            help = f"`{player.name}: LOSS` under schedule is a phase of it"
            yield Finding(
                player.place, f"players.{player.name}", f"no phase of the schedule is played by {player.name}", help
            )
        for part in player.optimizers:
            networks = [part] if part else list(player.networks)
            if all(n in stage.graph.networks for n in networks) and not stage.graph.parameters(networks):
                fact = f"{' and '.join(networks)} has no parameters, and {player.name} would train nothing"
                yield Finding(player.place, f"players.{player.name}", fact, "give it layers that have weights")
    constant = {name for n, network in stage.graph.networks.items() if network.frozen for name in stage.contained(n)}
    for name, network in stage.graph.networks.items():
        if (
            name not in trained
            and name not in constant
            and network.parameters()
            and (name not in owned or _players_used(stage, name, used))
        ):
            if name in owned:
                fact, help = (
                    f"no phase trains {name}: its player's phases name other networks",
                    "name it in `networks` of a phase, or take it from the player",
                )
            else:
                declared = f"{name}: {{is: ..., frozen: true, weights: external}}"
                fact, help = (
                    f"no player owns {name}, so nobody trains it",
                    f"add it to a player's networks, or declare it: {declared}",
                )
            yield Finding(network.at, f"networks.{name}", fact, help)
        if network.frozen and not network.external and name not in trained and network.parameters():
            fact = f"{name} is frozen, and its weights stay the random ones of its beginning"
            help = "`weights: external` says that they come from a file"
            yield Finding(network.at, f"networks.{name}", fact, help, f"random({name})", warning=True)
    yield from _shared(stage, trained)


def _players_used(stage: Stage, name: str, used: set[str]) -> bool:
    """Whether a player that owns a network has phases (if none has, that is said already)."""
    return any(p.name in used and stage.mask(p.networks) & stage.bits[name] for p in stage.graph.players.values())


def _frozen(stage: Stage) -> Iterator[Finding]:
    for name, network in stage.graph.networks.items():
        if network.external and not network.frozen:
            help = "say `frozen: true` beside it: a part that comes from outside is not trained here"
            yield Finding(
                network.at, f"networks.{name}", f"{name} takes its weights from outside and is not frozen", help
            )
    for player in stage.graph.players.values():
        for owned in player.networks:
            for inner in stage.contained(owned):
                if stage.graph.networks[inner].frozen:
                    what = f"the network {inner} is frozen"
                    if inner != owned:
                        what = f"{owned} contains the network {inner}, which is frozen"
                    fact = f"{what}, and the player {player.name} would train it"
                    help = "take it out of the player, or leave out `frozen: true`"
                    place = _named_in(stage, player.name, owned)
                    yield Finding(place, f"players.{player.name}.networks", fact, help)


def _named_in(stage: Stage, player: str, network: str) -> Place:
    """Where a player names a network."""
    member = next(m for m in stage.graph.resolved.players if m.name == player)
    head = family_of(network)
    return next((e.at for e in member.body.networks if any(n.id == head for n in names(e))), member.place)


def _shared(stage: Stage, trained: dict[str, set[str]]) -> Iterator[Finding]:
    """Networks that several players train; of nested ones the outermost."""
    several = {name for name, players in trained.items() if len(players) > 1 and name in stage.graph.networks}
    inside = {
        i
        for name in several
        for i in stage.contained(name)[1:]
        if trained[i] == trained[name] and stage.graph.networks[name].parameters()
    }
    order = list(stage.graph.players)
    for name in stage.graph.networks:
        if name in several and name not in inside and stage.graph.networks[name].parameters():
            players = sorted(trained[name], key=order.index)
            second = next(p for p in players[1:] or players)
            owner = next(o for o in stage.graph.players[second].networks if name in stage.contained(o))
            fact = f"the network {name} is trained by the players {' and '.join(players)}" + (
                "" if owner == name else f": {owner} contains it"
            )
            yield Finding(
                _named_in(stage, second, owner),
                f"players.{second}.networks",
                fact,
                "give it to one of them",
                f"shared({name})",
            )


def reached(case: Case) -> Iterator[Finding]:
    """Every phase reaches what it trains, and every parameter is reached by some phase of some stage."""
    owned: dict[str, None] = {}
    hit: set[str] = set()
    said: set[str] = set()
    for stage in case.stages:
        for phase in stage.phases:
            route = stage.schedule.routing.routes[phase.name]
            owned |= dict.fromkeys(route.owned)
            hit |= set(route.reached)
            if route.owned and not route.reached:
                said |= set(route.owned)
                fact = f"no gradient reaches {', '.join(phase.networks)}"
                help = _cut(stage, phase.objective, stage.owned[phase.name]) or "the objective does not depend on it"
                yield Finding(phase.place, f"schedule.{phase.name}", fact, help)
    stage = case.stages[-1]
    said |= {p for network in stage.graph.networks.values() if network.frozen for p, _ in network.parameters()}
    dead = tuple(f"{name}{end}" for (_, name), read in case.inner_values.items() if not read for end in ".[")
    missed: dict[str, list[str]] = {}
    for parameter in owned:
        if parameter not in hit and parameter not in said and not parameter.startswith(dead):
            missed.setdefault(parameter.split(".")[0], []).append(parameter)
    families = {family_of(name) for name in {p.split(".")[0] for p in hit} if "[" in name}
    for name, parameters in missed.items():
        network = stage.graph.networks[name]
        every = len(network.parameters())
        fact, help = f"no objective reaches {name}", "let a loss read what it makes"
        if len(parameters) < every:
            more = f" and {len(parameters) - 3} more" if len(parameters) > 3 else ""
            fact = f"no objective reaches {', '.join(parameters[:3])}{more}"
            help = "an output that nobody reads, or a bias that is taken away again"
        warning = len(parameters) < every or family_of(name) in families
        yield Finding(network.at, f"networks.{name}", fact, help, f"unreached({name})", warning)


def _cut(stage: Stage, root: Node, wanted: int) -> str | None:
    """Where the gradient on its way to some networks ends, if a value comes from them at all."""
    node = root
    while stage.made_of[id(node)] & wanted and not stage.feeds[id(node)] & wanted:
        onward = next((a for a in node.args if stage.made_of[id(a)] & wanted and not stage.feeds[id(a)] & wanted), None)
        if onward is None:
            break
        node = onward
    if not stage.made_of[id(node)] & wanted:
        return None
    if node.op == "call" and not (node.fields["view"].get("frozen") or averaged(node)):
        node = _end(node.fields["module"]) or node
    line = f"in {node.at.seen_from(root.at)}"
    if node.op == "call" and node.fields["view"].get("frozen"):
        return f"frozen({node.fields['network']}) {line} makes its parameters constants"
    if node.op == "call" and averaged(node):
        return f"{node.fields['network']} {line} is an average, which nobody trains"
    if node.op == "replay":
        return f"the pool {node.name or ''} {line} is a constant: give the loss the fresh fake, and the pool as `shown`"
    if node.op == "stop":
        return f"`stop` {line} cuts it"
    return f"`{ops.SIGNS.get(node.op, node.op)}` {line} has no gradient"


def _end(module: Module) -> Node | None:
    """Where in a body a gradient ends."""
    for node in visit(module.outputs, passing):
        if node.args and not passing(node):
            inner = node.fields.get("module")
            bare = next((a for a in node.args if a.op in ops.COMPARISONS), node)  # made a number by whoever reads it
            return (_end(inner) if inner is not None else None) or bare
    return None


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
                    help = _cut(stage, loss, own) or "leave it out of this objective"
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
        help = _cut(stage, sided.loss.side(side), own) or f"it does not depend on {', '.join(phase.networks)}"
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
            return fact, _cut(stage, scores[deaf[0]][0], own) or "`frozen` and averages are constants"
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


def stagewise(rule: Callable[[Stage], Iterator[Finding]]) -> Callable[[Case], Iterator[Finding]]:
    def every(case: Case) -> Iterator[Finding]:
        for stage in case.stages:
            yield from rule(stage)

    return every


RULES: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    dead_names,
    formulas,
    dead_losses,
    dead_values_inside,
    dead_phases,
    stage_keys,
    recipes,
    ignored_options,
    owners,
    reached,
    sides,
    opposition,
    lambda case: lifetime.idle_once(case.stages),
    *map(
        stagewise,
        (
            lifetime.lifetimes,
            times.numbers,
            kinds.probabilities,
            kinds.ranges,
            kinds.domains,
            kinds.distances,
            kinds.targets,
            kinds.pairs,
            kinds.penalties,
            kinds.accumulations,
        ),
    ),
)
