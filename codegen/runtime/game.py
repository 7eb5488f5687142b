import torch
from draws import Draws
from pool import Pool
from torch import nn


class Evaluation:
    """What a phase, or a group of phases, computed: objectives by phase, losses by name, conditions, new states."""

    def __init__(self, objectives, losses, when=None, state=None):
        self.objectives, self.losses, self.when, self.state = objectives, losses, when or {}, state or {}


class Game:
    """Players that step their own networks, phase by phase. What a system is made of comes from the subclass.

    A phase evaluates its objective at the weights as they stand, takes the gradient with respect to its own networks,
    and steps its player's optimizer. No other parameter and no other `.grad` changes.
    """

    batch_size = 16
    plain_inputs = ()  # those with one sample for each of the batch
    stages = (None,)  # (name, iterations, images, players whose optimizers are reset)
    phases_of = None  # where stages have phases of their own
    clock_names = ("step", "epoch", "epoch_step", "epoch_steps", "images", "stage", "stage_step", "stage_images")

    def setup(self):
        """After the subclass has made its networks: averages, optimizers, clocks."""
        self.clocks = dict.fromkeys(self.clock_names, 0) | {"epoch_steps": 1}
        self.N = self.batch_size
        self.batch, self.coming, self.held, self.latest, self.counts = None, [], {}, {}, {}
        self.state, self.pools, self.averages, self.players = {}, {}, nn.ModuleDict(), {}
        self.seed, self.given, self.several = None, None, False
        self.sync = None  # with many processes: what gives the mean of a tensor over them
        self.enter()

    def enter(self):
        """The present stage begins: what it is the first to have is made; what exists goes on."""
        for name, value in self.starts().items():
            self.state.setdefault(name, value)
        for name, (size, swap) in self.pooled().items():
            self.pools.setdefault(name, Pool(size, swap))
        if self.phases_of:
            self.phases = self.phases_of[self.stage]
        self.constants()
        for name, (source, zeros) in self.averaged().items():
            if name not in self.averages:
                self.averages[name] = self.copy(source, zeros)
        for name, groups in self.optimizers().items():
            self.players[name] = self.going_on(self.players.get(name, ()), [self.optimizer(*group) for group in groups])

    def copy(self, source, zeros):
        """A second network like `source`, in evaluation mode, that nobody trains."""
        made = torch.optim.swa_utils.AveragedModel(self.networks[source]).module.eval().requires_grad_(False)
        if zeros:
            for p in made.parameters():
                p.zero_()
        return made

    def optimizer(self, kind, networks, arguments):
        """One optimizer over the parameters of some networks or parts of them, each once."""
        made = kind(self.parameters(networks), **arguments)
        made.param_groups[0]["given"] = arguments
        return made

    def going_on(self, before, optimizers):
        """The optimizers of a stage, with what those of the same kind have gathered in the stage before."""
        for old in before:
            for new in optimizers if old.state else ():
                if type(old) is type(new):
                    new.state.update({p: old.state[p] for p in new.param_groups[0]["params"] if p in old.state})
        return optimizers

    def parameters(self, names):
        """The parameters of some networks, or of parts of them that have a name, each once."""
        parts = self.parts()
        return list(dict.fromkeys(p for n in names for p in parts.get(n) or self.networks[n].parameters()))

    # What a subclass says

    def starts(self):
        return {}

    def pooled(self):
        return {}

    def averaged(self):
        return {}

    def rules(self):
        return {}

    def parts(self):
        return {}

    def constants(self):
        """Constants that follow the clocks."""

    def finish(self):
        """State and averages at the end of an iteration."""

    # Values

    @property
    def stage(self):
        """The name of the present stage."""
        return self.stages[self.clocks["stage"]][0]

    @property
    def like(self):
        """A tensor whose device and dtype are those of the program."""
        return next(self.networks.parameters(), torch.zeros(()))

    def full(self, value, *shape):
        return torch.full(shape, value, device=self.like.device, dtype=self.like.dtype)

    def placed(self, value):
        """A tensor where the program is, real numbers in its dtype."""
        return value.to(self.like.device, self.like.dtype if value.is_floating_point() else value.dtype)

    def fetch(self):
        """The next batch becomes the present one."""
        if not self.coming:
            raise IndexError(f"no batch is left, of {self.fetches()} that this iteration takes")
        self.batch = dict(self.coming.pop(0) if len(self.coming) > 1 or self.several else self.coming[0])

    def input(self, name):
        if self.batch is None:
            self.fetch()
        if name not in self.batch:
            raise KeyError(f"the batch has no '{name}'")
        self.batch[name] = self.placed(self.batch[name])
        return self.batch[name]

    def last(self, loss):
        """What a loss was in its latest evaluation of this iteration."""
        if loss not in self.latest:
            raise RuntimeError(f"{loss} is read before any phase of this iteration has evaluated it")
        return self.latest[loss].item()

    def draws(self, evaluation=""):
        return Draws(self.like, self.seed, self.given, evaluation)

    # An iteration

    def step(self, batch=None, draws=None, seed=None):
        """One iteration. `batch` is a dict of tensors by input, or a list of dicts for the fetches in turn.

        Random numbers come from `draws`, a dict by name, or from streams that `seed` begins. Returns the losses
        (`PHASE/LOSS`, then `PHASE.2/LOSS`) and objectives (`PHASE`) as each evaluation saw them. The clock `epoch`
        stands still until `clocks["epoch_steps"]` is set to the iterations of an epoch, more than 1.
        """
        self.begin(batch, draws, seed)
        if self.several and len(self.coming) < self.fetches():
            raise ValueError(f"this iteration takes {self.fetches()} batches, and got {len(self.coming)}")
        self.log = {}
        self.iteration()
        self.finish()
        self.advance()
        return self.log

    def begin(self, batch, draws, seed):
        self.several = isinstance(batch, list | tuple)
        self.coming = list(batch) if self.several else [batch] if batch is not None else []
        self.batch, self.held, self.latest, self.counts = None, {}, {}, {}
        self.given = draws
        self.seed = seed if seed is not None or draws is not None else f"{torch.initial_seed()}/{self.clocks['step']}"
        self.N = self.batch_of(self.coming[0]) if self.coming else self.batch_size
        self.constants()

    def batch_of(self, batch):
        """The batch size N of a batch: the length of an input that has one sample for each."""
        return next((len(batch[name]) for name in self.plain_inputs if name in batch), self.batch_size)

    def play(self, name, evaluate, fresh=False, accumulate=1, same=False, retain=False):
        """One evaluation of a phase or group, then the steps of its members in order.

        Several evaluations are accumulated, each of a batch of its own, or all of the `same`.
        """
        sums = {}
        for turn in range(accumulate):
            if (fresh and turn == 0) or (turn and not same):
                self.fetch()
            self.counts[name] = self.counts.get(name, 0) + 1
            result, gradients = self.evaluated(name, evaluate(self.draws(self.label(name))), retain)
            for phase, found in gradients.items():
                sums[phase] = added(sums.get(phase), found)
            self.note(name, result)
        state = {k: v.detach().clone() if torch.is_tensor(v) else v for k, v in result.state.items()}  # before steps
        for phase, total in sums.items():
            if bool(result.when.get(phase, True)):
                self.move(phase, self.ruled(phase, self.mean(total, accumulate)))
        self.state.update(state)

    def label(self, name):
        return name if self.counts[name] == 1 else f"{name}.{self.counts[name]}"

    def note(self, name, result):
        """Keeps what an evaluation saw, for the log and for conditions of later phases."""
        label = self.label(name)
        suffix = label[len(name) :]
        for loss, value in result.losses.items():
            self.latest[loss] = self.log[f"{label}/{loss}"] = value.detach()
            for phase in result.objectives if name not in result.objectives else ():
                if loss in self.phases[phase][2]:
                    self.log[f"{phase}{suffix}/{loss}"] = value.detach()
        for phase, value in result.objectives.items():
            self.log[f"{phase}{suffix}"] = value.detach()

    def trained(self, phase):
        """The parameters that a phase may step, each once."""
        return self.parameters(self.phases[phase][1])

    def evaluated(self, name, evaluation, retain):
        """What an evaluation computed, and the gradient of each of its phases.

        An evaluation may yield parts of its objective that share nothing, so that the graph of each is freed in time.
        """
        if isinstance(evaluation, Evaluation):
            phases = list(evaluation.objectives)
            last = phases[-1]
            gradients = {p: self.gradient(p, evaluation.objectives[p], retain or p != last) for p in phases}
            return evaluation, gradients
        total = None
        while True:
            try:
                part = next(evaluation)
            except StopIteration as end:
                return end.value, {name: total}
            total = added(total, self.gradient(name, part, retain))

    def gradient(self, phase, objective, retain):
        """The gradient of an objective with respect to the phase's own parameters; None where no path reaches one."""
        return list(torch.autograd.grad(objective, self.trained(phase), retain_graph=retain, allow_unused=True))

    def mean(self, total, count):
        """The mean over accumulated evaluations, and over processes where there are several."""
        found = [g if g is None or count == 1 else g / count for g in total]
        for dtype in {g.dtype for g in found if g is not None} if self.sync else ():
            some = [i for i, g in enumerate(found) if g is not None and g.dtype == dtype]
            bucket = self.sync(torch.cat([found[i].flatten() for i in some]))
            for i, part in zip(some, bucket.split([found[i].numel() for i in some]), strict=True):
                found[i] = part.view_as(found[i])
        return found

    def ruled(self, phase, gradients):
        """The player's rules for gradients, of all that the phase trains or of a part: `clip_norm`, `clip_value`."""
        rules = self.rules().get(self.phases[phase][0], {}).get("gradient", [])
        for kind, names, bound in rules:
            chosen = set(map(id, self.parameters(names)))
            some = [i for i, p in enumerate(self.trained(phase)) if id(p) in chosen and gradients[i] is not None]
            if kind == "clip_value":
                for i in some:
                    gradients[i] = gradients[i].clamp(-bound, bound)
            elif some:
                norm = torch.stack([gradients[i].norm() for i in some]).norm()
                factor = (bound / (norm + 1e-6)).clamp(max=1.0)
                for i in some:
                    gradients[i] = gradients[i] * factor
        return gradients

    def move(self, phase, gradients):
        """One step of the phase's player, from these gradients, with its rules before and after."""
        player, parameters = self.phases[phase][0], self.trained(phase)
        rules = self.rules().get(player, {})
        self.change(rules.get("before", []), parameters)
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g
        for optimizer, (_, _, arguments) in zip(self.players[player], self.optimizers()[player], strict=True):
            group = optimizer.param_groups[0]
            before = group.setdefault("given", arguments)  # what follows no clock may be changed from outside
            group.update({k: v for k, v in arguments.items() if v != before[k]}, given=arguments)
            optimizer.step()
        for p in parameters:
            p.grad = None
        self.change(rules.get("after", []), parameters)
        torch.clear_autocast_cache()  # it holds the weights of before

    @torch.no_grad()
    def change(self, rules, parameters):
        for names, rule in rules:
            chosen = set(map(id, self.parameters(names)))
            for p in parameters:
                if id(p) in chosen:
                    p.copy_(rule(p))

    @torch.no_grad()
    def follow(self, name, decay):
        """An average moves towards its network; buffers are copied."""
        average, source = self.averages[name], self.networks[self.averaged()[name][0]]
        for a, p in zip(average.parameters(), source.parameters(), strict=True):
            a.lerp_(p, 1 - decay)
        for a, b in zip(average.buffers(), source.buffers(), strict=True):
            a.copy_(b)

    def reset(self, *players):
        """Forgets what the optimizers of these players have gathered."""
        for name in players:
            for optimizer in self.players[name]:
                optimizer.state.clear()

    def advance(self):
        """The clocks; and the next stage, when this one has had its iterations or images."""
        clocks = self.clocks
        for name in ("step", "stage_step", "epoch_step"):
            clocks[name] += 1
        for name in ("images", "stage_images"):
            clocks[name] += self.N
        if clocks["epoch_step"] >= clocks["epoch_steps"] > 1:
            clocks.update(epoch=clocks["epoch"] + 1, epoch_step=0)
        self.held, self.batch = {}, None
        self.constants()
        stage = self.stages[clocks["stage"]]
        if stage and clocks["stage"] + 1 < len(self.stages):
            _, iterations, images, _ = stage
            long = iterations is not None and clocks["stage_step"] >= iterations
            if long or (images is not None and clocks["stage_images"] >= images):
                self.turn(clocks["stage"] + 1)

    def turn(self, stage):
        """Enters a stage by its number."""
        self.clocks.update(stage=stage, stage_step=0, stage_images=0)
        self.enter()
        self.reset(*(self.stages[stage][3] if self.stages[stage] else ()))

    # Keeping

    def state_dict(self):
        """All that the next iteration depends on."""
        return {
            "networks": self.networks.state_dict(),
            "averages": self.averages.state_dict(),
            "optimizers": {name: [o.state_dict() for o in player] for name, player in self.players.items()},
            "pools": {name: list(pool.samples) for name, pool in self.pools.items()},
            "state": dict(self.state),
            "clocks": dict(self.clocks),
        }

    def load_state_dict(self, saved):
        missing = [key for key in self.state_dict() if key not in saved]
        if missing:
            raise KeyError(f"the state has no {', '.join(missing)}")
        self.networks.load_state_dict(saved["networks"])
        self.clocks.update(saved["clocks"])
        self.state, self.pools, self.averages, self.players = {}, {}, nn.ModuleDict(), {}
        self.enter()
        self.averages.load_state_dict(saved["averages"])
        for name, player in self.players.items():
            for optimizer, kept in zip(player, saved["optimizers"][name], strict=True):
                optimizer.load_state_dict(kept)
        for name, pool in self.pools.items():
            pool.samples = [self.placed(sample) for sample in saved["pools"][name]]
        self.state.update({k: self.placed(v) if torch.is_tensor(v) else v for k, v in saved["state"].items()})

    def to(self, *args, **kwargs):
        """Networks, averages, state and pools on another device or in another dtype."""
        self.networks.to(*args, **kwargs)
        self.averages.to(*args, **kwargs)
        self.state = {k: v.to(*args, **kwargs) if torch.is_tensor(v) else v for k, v in self.state.items()}
        for pool in self.pools.values():
            pool.samples = [s.to(*args, **kwargs) for s in pool.samples]
        for player in self.players.values():
            for optimizer in player:
                optimizer.load_state_dict(optimizer.state_dict())
        return self

    @torch.no_grad()
    def sample(self, view, n, batch=None, seed=0, draws=None):
        """A view for a batch of `n`, in evaluation mode and from the averages; of half of a batch it has half as many.

        `draws` gives some of the noise. Nothing changes, also where a view calls a network in training mode.
        """
        wrong = {len(batch[name]) for name in self.plain_inputs if batch and name in batch} - {n}
        if wrong:
            raise ValueError(f"{n} samples are asked for, and the batch has {wrong.pop()}")
        modules = [*self.networks.modules(), *self.averages.modules()]
        modes = {module: module.training for module in modules}
        kept = [(b, b.clone()) for module in modules for b in module.buffers(recurse=False)]
        self.begin(batch, draws, seed)
        self.N = n
        self.networks.eval()
        try:
            return self.views[view](self.draws())
        finally:
            for module, mode in modes.items():
                module.training = mode
            for buffer, value in kept:
                buffer.copy_(value)
            self.held, self.batch = {}, None


def added(total, gradients):
    """The sum of two lists of gradients; any of them may be absent. Both are used up, so that no third list stands."""
    if total is None:
        return gradients
    for i, mine in enumerate(total):
        other, gradients[i] = gradients[i], None
        total[i] = other if mine is None else mine if other is None else mine + other
    return total
