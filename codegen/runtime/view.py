import torch
from torch import nn


class View:
    """A network called in another way: as a constant, in another mode, with other running statistics, untouched.

    `given` are values in place of its parameters, in their order. `entry` names the method that is called instead of
    `forward`: the network up to a label.
    """

    def __init__(self, network, given=None, frozen=False, training=None, statistics=None, still=False, entry="forward"):
        self.network, self.given, self.frozen, self.training, self.still = network, given, frozen, training, still
        self.statistics, self.entry = statistics, entry

    def __call__(self, *inputs):
        modes = {module: module.training for module in self.network.modules()}
        if self.training is not None:
            self.network.train(self.training)
        if self.statistics:
            self.exchange()
        # In evaluation mode too: a derivative reads running statistics, which a later call in training mode would move.
        hooks = [h for m in modes for h in still(m)] if self.still or self.training is False else []
        try:
            if self.frozen or self.given is not None:
                values = self.given if self.given is not None else [p.detach() for p in self.network.parameters()]
                names = [f"network.{name}" for name, _ in self.network.named_parameters()]
                held = dict(zip(names, values, strict=True))
                return torch.func.functional_call(Entry(self.network, self.entry), held, inputs)
            return self.network(*inputs) if self.entry == "forward" else getattr(self.network, self.entry)(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
            if self.statistics:
                self.exchange()
            for module, mode in modes.items():
                module.training = mode

    def exchange(self):
        """Running statistics change places with those kept under the name of this view."""
        for module in self.network.modules():
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                other = f"{name}_{self.statistics}"
                if other in module._buffers:
                    module._buffers[name], module._buffers[other] = module._buffers[other], module._buffers[name]


def still(module):
    """Hooks by which each call of a module reads its state and moves a copy of it."""

    def lend(module, inputs):
        module.kept = dict(module._buffers)
        module._buffers.update({name: b.clone() for name, b in module.kept.items() if b is not None})

    def put_back(module, inputs, output):
        module._buffers.update(module.kept)
        del module.kept

    if not module._buffers:
        return []
    return [module.register_forward_pre_hook(lend), module.register_forward_hook(put_back)]


class Entry(nn.Module):
    """A network entered by one of its methods."""

    def __init__(self, network, method):
        super().__init__()
        self.network, self.method = network, method

    def forward(self, *inputs):
        return getattr(self.network, self.method)(*inputs)


def keep_statistics(network, name):
    """Running statistics of their own for the calls of a view; they begin as the network's."""
    for module in network.modules():
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            if module._buffers.get(buffer) is not None:
                module.register_buffer(f"{buffer}_{name}", module._buffers[buffer].clone())
