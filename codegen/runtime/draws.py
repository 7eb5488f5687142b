import torch


class Draws:
    """Every random number of an evaluation, by name: given in a dict, or made from a stream of its own.

    A name is looked up from the longest key to the shortest: `PHASE.2/z`, `PHASE/z`, `z`. What is not given is made
    by a generator that only the seed and the whole key decide, so that no draw shifts another.
    """

    def __init__(self, like, seed=None, given=None, evaluation="", place="", path="", calls=None):
        self.like, self.seed, self.given, self.evaluation = like, seed, given or {}, evaluation
        self.place, self.path, self.calls = place, path, {} if calls is None else calls

    def part(self, place, path):
        return Draws(self.like, self.seed, self.given, self.evaluation, place, path, self.calls)

    def at(self, path):
        """The draws of a layer, or of a block, of the network that is being called."""
        return self.part(self.place, f"{self.path}.{path}")

    def call(self, network, place=None):
        """The draws of a call of a network: `fake/G`, and of its second call in that value `fake/G.2`."""
        place = self.place if place is None else place
        count = self.calls[place, network] = self.calls.get((place, network), 0) + 1
        return self.part(place, f"{place}/{network}" if count == 1 else f"{place}/{network}.{count}")

    def once(self):
        """Draws that are made one time an iteration: they have their bare name only."""
        return Draws(self.like, self.seed, self.given)

    def find(self, name, make):
        phase = self.evaluation.rsplit(".", 1)[0] if self.evaluation.rpartition(".")[2].isdigit() else self.evaluation
        for key in (f"{self.evaluation}/{name}", f"{phase}/{name}", name):
            if key in self.given:
                value = self.given[key].to(self.like.device)
                return value.to(self.like.dtype) if value.is_floating_point() else value
        if self.seed is None:
            raise KeyError(f"no draw is given for {name} in {self.evaluation or 'this evaluation'}")
        key = 14695981039346656037  # FNV-1a, 64 bits
        for byte in "/".join(filter(None, (str(self.seed), self.evaluation, name))).encode():
            key = (key ^ byte) * 1099511628211 % 2**64
        return make(torch.Generator(device=self.like.device).manual_seed(key % 2**63))

    def options(self, generator):
        return {"generator": generator, "device": self.like.device, "dtype": self.like.dtype}

    def normal(self, name, *shape, mean=0, std=1):
        return self.find(name, lambda g: torch.randn(shape, **self.options(g)) * std + mean)

    def uniform(self, name, *shape, low=0, high=1):
        return self.find(name, lambda g: torch.rand(shape, **self.options(g)) * (high - low) + low)

    def bernoulli(self, name, p, *shape):
        return self.find(name, lambda g: (torch.rand(shape, **self.options(g)) < p).to(self.like.dtype))

    def integer(self, name, low, high, *shape):
        return self.find(name, lambda g: torch.randint(low, high, shape, generator=g, device=self.like.device))

    def permutation(self, name, n):
        return self.find(name, lambda g: torch.randperm(n, generator=g, device=self.like.device))

    def mask(self, p, x):
        """For a Dropout layer: 1 where an entry of x is kept."""
        return self.bernoulli(self.path, 1 - p, *x.shape)

    def normal_like(self, x):
        """For a Noise layer."""
        return self.normal(self.path, *x.shape)
