import torch


def layers_of(network, *kinds):
    """The layers of some kinds that hold a weight of their own, in order; a wrapper stands for the layer inside it."""
    for module in network.modules():
        layer = getattr(module, "layer", module)
        if isinstance(layer, kinds) and getattr(module, "weight", None) is not None:
            yield module


@torch.no_grad()
def begin(module, **initializers):
    """A module whose weight or bias begins in a way of its own, which no general rule overrides."""
    for name, initialize in initializers.items():
        initialize(getattr(module, name))
    module.begun = set(initializers)
    return module


@torch.no_grad()
def initialize(modules, name, rule):
    """Applies a rule of initialization to the weight or bias of some layers."""
    for module in modules:
        parameter = getattr(module, name, None)
        if parameter is not None and name not in getattr(module, "begun", ()):
            rule(parameter)
