import torch


class Pool:
    """Samples of earlier iterations (Shrivastava et al. 2017, section 2.3), at most `size` of them.

    Works through a batch in order: while the pool is not full, a sample is stored and returned; then, with
    probability `swap`, a stored one is returned and this one takes its place; else this one is returned.
    """

    def __init__(self, size, swap):
        self.size, self.swap, self.samples, self.writing = size, swap, [], True

    @torch.no_grad()
    def __call__(self, batch, name, draws):
        if self.size == 0:
            return batch.detach()
        swaps = draws.bernoulli(f"{name}/swap", self.swap, len(batch)).tolist()
        slots = draws.integer(f"{name}/slot", 0, self.size, len(batch)).tolist()
        samples = self.samples if self.writing else list(self.samples)
        shown = []
        for sample, swap, slot in zip(batch.detach(), swaps, slots, strict=True):
            if len(samples) < self.size:
                samples.append(sample.clone())
                shown.append(sample)
            elif swap:
                shown.append(samples[slot])
                samples[slot] = sample.clone()
            else:
                shown.append(sample)
        return torch.stack(shown)
