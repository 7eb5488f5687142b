"""From a compiled spec and a data set to a trained run.

    sets         "digits", "photos", a folder          -> Dataset      items by number
    table        `metadata.csv` beside images          -> Table        their classes, attributes, sentences
    drawn        a picture and attributes              -> picture      drawn so; sentences that say how, embedded
    prepare      pictures, the steps of `prepare`      -> pictures     of the sizes that the inputs have
    data         Dataset, the spec's streams           -> Data         batch number i, as a dict of tensors
    loop         the compiled spec, Data               -> Result       a trained run; `train` and `sample_run`
    run          a folder                              -> Run          what lies where, who may write there
    checkpoint   nested state                         <-> one file     atomic, checked, without pickle
    evaluate     a run                                 -> Evaluation   the spec's metrics, over many samples
    export       a run                                 -> a folder     its program and its weights
    told         samples of what was asked for         -> shares       that a classifier of real items takes for it
    samples      the compiled spec, a view, Data       -> samples      and what stands beside them
    collapse     samples beside real items             -> Report       figures of their variety, and alarms
    pictures     samples, losses                       -> PNG          grids, points, curves
    metrics      samples of digits                     -> Table        are they good, are all there, are they new
    demo         `make demo`                                           trains `digits`, prints that table

For the spec `digits`, batch 0 is `{"x": [N, 1, 28, 28]}`, the digits that `stream_rng(seed, "data", "order", 0)` puts
first. `train("digits")` takes it, and the batches after it, through `gan.step`, and leaves `runs/digits/`:

    spec.yaml  program.py  diagram.svg  losses.png  metrics.jsonl  samples/000500.png ...
    checkpoints/006000.safetensors

`train("digits", resume=True, iterations=10000)` goes on from there. The package may be called itself, as
`gangraph.train(spec, ...)`, which is `gangraph.train.train`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gangraph.verb import callable_itself

if TYPE_CHECKING:
    from gangraph.train.evaluate import evaluate_run
    from gangraph.train.export import export_run
    from gangraph.train.loop import Result, sample_run, train

__all__ = ["Result", "evaluate_run", "export_run", "sample_run", "train"]


def __getattr__(name: str) -> Any:
    """What needs torch is loaded when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from gangraph.train import evaluate, export, loop

    return getattr({"evaluate_run": evaluate, "export_run": export}.get(name, loop), name)


callable_itself(__name__)
