import torch


class AdamTF(torch.optim.Optimizer):
    """Adam as TensorFlow steps it: eps stands beside the uncorrected root (Kingma and Ba 2015, end of section 2)."""

    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr, eps = group["betas"], group["lr"], group["eps"]
            for p in [p for p in group["params"] if p.grad is not None]:
                kept = self.state[p]
                if not kept:
                    kept.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
                kept["step"] += 1
                kept["mean"].lerp_(p.grad, 1 - b1)
                kept["square"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                rate = lr * (1 - b2 ** kept["step"]) ** 0.5 / (1 - b1 ** kept["step"])
                p.addcdiv_(kept["mean"], kept["square"].sqrt().add_(eps), value=-rate)
