"""Who trains what: every parameter has one player, or none and is frozen, and some phase reaches it."""

from __future__ import annotations

from collections.abc import Iterator

from gangraph import ops
from gangraph.check.case import Case, Finding, Stage, averaged
from gangraph.errors import Place
from gangraph.expressions import names
from gangraph.families import family_of
from gangraph.ir import Module, Node, visit
from gangraph.routing import passing


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
                help = cut(stage, phase.objective, stage.owned[phase.name]) or "the objective does not depend on it"
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


def cut(stage: Stage, root: Node, wanted: int) -> str | None:
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
