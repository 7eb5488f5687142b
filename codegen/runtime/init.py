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
    for name, rule in initializers.items():
        rule(getattr(module, name))
        matched(module, name)
    module.begun = set(initializers)
    return module


def matched(module, name):
    """A wrapper that keeps the scale of the weight apart begins at the scale of the weight that was given."""
    wrapper = module if name == "weight" else None
    while wrapper is not None:
        if hasattr(wrapper, "match"):
            wrapper.match(module.weight)
        wrapper = getattr(wrapper, "first", None)


@torch.no_grad()
def initialize(modules, name, rule):
    """Applies a rule of initialization to the weight or bias of some layers."""
    for module in modules:
        parameter = getattr(module, name, None)
        if parameter is not None and name not in getattr(module, "begun", ()):
            rule(parameter)
            matched(module, name)
