"""A compiled spec and a data set -> a trained run: the loop, on Lightning Fabric.

`train` refuses what cannot work before it writes anything, then repeats: take the batches that the next iteration
fetches, set the clocks, step, check that all is finite, log; from time to time draw samples and save a checkpoint.
Every random number of iteration k is made from (seed, k, rank), so a checkpoint is the state of the compiled object and
two integers, and a resumed run equals one that was never stopped, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.spawn import ProcessRaisedException

from gangraph.errors import RunError
from gangraph.files import write
from gangraph.frozen import frozen
from gangraph.train import pictures
from gangraph.train.checkpoint import State, load_weights
from gangraph.train.collapse import Judge, Watch, collapse, judge_of
from gangraph.train.data import Data, fit, stream_rng
from gangraph.train.run import LOSSES, METRICS, SPEC, Metrics, Run, check_same_spec
from gangraph.train.samples import samples
from gangraph.train.sets import counted, is_embedded, located

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PRECISIONS = {
    "32": "32-true",
    "bf16-mixed": "bf16-mixed",
}
REFUSED = {
    "16-mixed": "16-mixed needs a loss scaler for each player, and none scales an inner grad: use bf16-mixed or 32",
    "16-true": "gradients of 16 bits without a scaler vanish: use bf16-mixed or 32",
    "bf16-true": "optimizer steps are lost in weights of 16 bits: use bf16-mixed or 32",
}
WRAPPERS = ("fsdp", "ddp", "deepspeed")  # Fabric strategies that wrap modules
RANDOM = "random"  # in place of a file of weights
SAVE_EVERY = 60.0  # seconds between checkpoints at most
TOLD_EVERY = 30.0  # seconds between lines of progress, where nobody watches
WIDTH, SHORTEST, LONGEST = 100, 8, 20  # of the objectives in such a line; of a bar
CURVES_EVERY = 30.0  # seconds between two drawings of losses.png at least
MARKS = 12  # sample pictures of a run, about
LOGGED = 5000  # lines of metrics.jsonl, about
ALARMS = "alarms"  # in a line of metrics.jsonl at a mark
SHOWN = 64  # samples in a picture at most
PIXELS = 2**18  # and pixels of one picture's samples


UNSAID = -1  # a seed
FIXED = {  # what a run was begun with, by option
    "--batch-size": "batch",
    "--seed": "seed",
    "--precision": "precision",
    "--devices": "devices",
    "--weights": "weights",
}


@frozen
class Options:
    """What a run was asked for, besides its spec."""

    data: str | None
    batch: int | None
    seed: int = 0
    iterations: int | None = None
    precision: str | None = None
    devices: int = 1
    quiet: bool = False
    weights: tuple[tuple[str, str], ...] = ()
    items: int = 0  # of the data, and their mark, once they are found
    mark: int = 0


@frozen
class Result:
    """Where a run lies, how far it came, and which signal interrupted it."""

    folder: Path
    step: int
    stopped: int = 0


def train(
    spec: Any,
    data: str | None = None,
    out: str | Path | None = None,
    iterations: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    weights: Mapping[str, str | Path] | Sequence[str] | None = None,
    precision: str | None = None,
    devices: int = 1,
    quiet: bool = False,
    diagram: Callable[[Any], str | None] | None = None,
    strategy: str | None = None,
) -> Result:
    """Train a spec (a name, a path, a loaded or a compiled one) and leave a run folder.

    `iterations` counts from the beginning, also when the run resumes. What a run was begun with (data, batch size,
    seed, 0 if nothing is said, precision, 32 so, weights, iterations) it goes on with; other iterations may be said.
    Raises `RunError` when data, folder, checkpoint or options do not fit, and when a number becomes infinite or NaN.
    """
    said = UNSAID if seed is None else seed
    exact = None if precision is None else str(precision)
    asked = Options(data, batch_size, said, iterations, exact, devices, quiet, _weights(weights))
    _check_options(asked, seed, strategy)
    if not hasattr(spec, "step"):
        from gangraph.compiler import load

        spec = load(spec, batch_size=batch_size)
    name = spec.spec.name if hasattr(spec, "step") else spec.name
    run = Run(out if out is not None else Path("runs") / name, say)
    try:
        return _begun(spec, run, run.open(resume), asked, diagram or _diagram)
    finally:
        run.unlock()


def _begun(spec: Any, run: Run, state: State | None, asked: Options, diagram: Callable[[Any], str | None]) -> Result:
    """Trains from the state of a run, or from the beginning; in this process, or in several."""
    if state and asked.batch is None and not hasattr(spec, "step"):
        from gangraph.compiler import load

        if state["spec"]["fields"].get("train.batch") != spec.fields().get("train.batch"):
            spec = load(spec, batch_size=state["run"]["batch"])  # as --batch-size may have set it
    gan = compiled(spec, max(asked.seed, 0))
    if state:
        check_same_spec(state, gan, f"{run} was trained from another spec, and cannot go on with this one")
    elif gan.clocks["step"]:
        raise RunError(f"this program has been trained for {gan.clocks['step']} iterations: compile it anew, or resume")
    options = _settled(asked, gan, state, run)
    fitted = _fit(gan, options)  # whatever does not fit is told here, before anything is written
    options = _marked(options, fitted, state, run)
    if fitted.set.left_out:
        say(f"{fitted.set} has {counted(fitted.set.count, 'image')}{fitted.set.told}")
    _total(gan, fitted, options, 0, 0)
    if state is None:
        _begin(gan, fitted, options)
    run.begin(gan, diagram)
    fabric = _fabric(options)
    if options.devices == 1:
        fabric.launch()
        return _train(fabric, gan, fitted, run, state, options)
    worker = partial(_worker, folder=str(run), options=options)  # processes of their own: each compiles RUN/spec.yaml
    try:
        step, stopped = fabric.launch(worker)
    except ProcessRaisedException as error:
        last = str(error).strip().splitlines()[-1]
        name, _, message = last.partition(": ")
        if name.rpartition(".")[2] != RunError.__name__:
            raise
        raise RunError(message) from None
    return Result(run.folder, step, stopped)


def compiled(spec: Any, seed: int = 0, settled: bool = False) -> Any:
    """The compiled object of a spec; one that is compiled already passes through."""
    if hasattr(spec, "step"):
        return spec
    from gangraph.compiler import compile, load

    torch.manual_seed(seed)  # initialization has a random stream of its own
    return compile(load(spec, settled=settled))


def _check_options(asked: Options, seed: int | None, strategy: str | None) -> None:
    counts = {"--iterations": asked.iterations, "--batch-size": asked.batch, "--devices": asked.devices}
    for name, value in counts.items():
        if value is not None and value < 1:
            raise RunError(f"{name} is {value}, and must be 1 or more")
    if not 0 <= (seed or 0) < 2**63 or not isinstance(seed, int | None):
        raise RunError(f"--seed is {seed}, and must be 0 or more, and below 2**63")
    here = torch.cuda.device_count() if torch.cuda.is_available() else max(2, os.cpu_count() or 1)
    if asked.devices > here:
        raise RunError(f"--devices is {asked.devices}, and this machine has {here}")
    if asked.precision not in (None, *PRECISIONS):
        raise RunError(
            REFUSED.get(str(asked.precision), f"no precision is called '{asked.precision}': 32 or bf16-mixed")
        )
    if strategy:
        help = "--devices N averages the gradients of each phase over N processes"
        if strategy.lower().startswith(WRAPPERS):
            fact = "wraps modules, and reduces in hooks that torch.autograd.grad does not run"
            raise RunError(f"{strategy} {fact}: {help}")
        raise RunError(f"no strategy is called '{strategy}': {help}")


def _settled(asked: Options, gan: Any, state: State | None, run: Run) -> Options:
    """The options as they hold: those of the checkpoint where there is one, else as asked for, else the spec's."""
    if state:
        saved, found = state["run"], replace(asked, data=data_of(run, state["run"], asked.data))
        sets = {"--data": "data"} if is_embedded(str(found.data)) or is_embedded(saved["data"]) else {}
        for option, name in (sets | FIXED).items():
            value, then = getattr(found, name), saved[name]
            if value not in (None, UNSAID, (), then):
                begun = f"without {option}" if then == () else f"with {option} {_written(then)}"
                raise RunError(f"{run} was begun {begun}, and cannot go on with {_written(value)}")
        kept = {name: saved[name] for name in FIXED.values()}
        return replace(found, **kept, iterations=asked.iterations or saved["iterations"])
    data, batch = asked.data or gan.spec.train.get("data"), asked.batch or gan.spec.train.get("batch")
    if data is None:
        raise RunError("the spec names no data: --data takes an embedded set or a folder")
    if batch is None:
        raise RunError("the spec names no batch size: --batch-size N")
    seed, precision = max(asked.seed, 0), asked.precision or "32"
    return replace(asked, data=located(str(data)), batch=int(batch), seed=seed, precision=precision)


def data_of(run: Run | str | Path, saved: Mapping[str, Any], data: str | None) -> str:
    """Where the data of a run are: as they are said, or where they were."""
    then = str(saved["data"])
    if data is None and not is_embedded(then) and not Path(then).is_dir():
        raise RunError(f"{run} was trained on {then}, which is not there any more: --data says where it is")
    return located(data or then)


def _marked(options: Options, data: Data, state: State | None, run: Run) -> Options:
    """The options with what tells these data from others; of a run that goes on, data that changed are told."""
    found = replace(options, items=data.set.count, mark=data.set.mark)
    saved = asdict(found) | (state["run"] if state else {})  # which an older run does not hold
    if (saved["items"], saved["mark"]) != (found.items, found.mark):
        alike = saved["items"] == found.items
        how = "other files" if alike else f"{counted(saved['items'], 'item')} then, {found.items} now"
        if Path(str(found.data)).resolve() != Path(saved["data"]).resolve():
            raise RunError(f"{run} was begun with --data {saved['data']}, and {found.data} is something else ({how})")
        say(f"{found.data} has changed since {run} was saved ({how}): it goes on with what is there now")
    return found


def _written(value: Any) -> str:
    """The value of an option, as the command takes it."""
    return " ".join(map("=".join, value)) if isinstance(value, tuple) else str(value)


def _weights(weights: Mapping[str, str | Path] | Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    if isinstance(weights, Mapping):
        return tuple((name, str(path)) for name, path in weights.items())
    pairs = [text.partition("=") for text in weights or ()]
    for name, equals, path in pairs:
        if not (name and equals and path):
            raise RunError(f"--weights {name}{equals}{path}: NETWORK=FILE was expected")
    return tuple((name, path) for name, _, path in pairs)


def _begin(gan: Any, data: Data, options: Options) -> None:
    """What a new run begins with: means of its data, and weights from outside."""
    gan.begin_from(lambda name, n: data.first(n)[name][:n])
    load_external(gan, options.weights)


def load_external(gan: Any, weights: Sequence[tuple[str, str]]) -> None:
    """Put the tensors of safetensors files into networks; `RANDOM` in place of a file leaves one as it begins.

    Raises `RunError` where names or shapes differ, and where a network with `weights: external` is given nothing.
    """
    named = dict(weights)
    external = {name for graph in gan.spec.graphs for name, known in graph.networks.items() if known.external}
    missing = [name for name in gan.networks if name in external and name not in named]
    if missing:
        asked = " ".join(f"--weights {name}=FILE" for name in missing)
        without = f"or {missing[0]}={RANDOM}, which goes on with weights that mean nothing"
        raise RunError(f"the weights of {' and '.join(missing)} come from outside: {asked} ({without})")
    for name, file in weights:
        if name not in gan.networks:
            raise RunError(f"--weights: no network is called '{name}': {', '.join(gan.networks)}")
        if file == RANDOM:
            continue
        found, own = load_weights(Path(file)), gan.networks[name].state_dict()
        for key in own:
            if key not in found:
                raise RunError(f"{file} has no {key}, and {name} does")
            if found[key].shape != own[key].shape:
                raise RunError(f"{file}: {key} is {list(found[key].shape)}, and {name} has {list(own[key].shape)}")
        gan.networks[name].load_state_dict(found, strict=False)
    for graph in gan.spec.graphs[:1]:  # an average begins as a copy, also of what came from outside
        for average in graph.averages.values():
            if not average.zeros:
                gan.averages[average.name].load_state_dict(gan.networks[average.source].state_dict())


def _fit(gan: Any, options: Options, rank: int = 0) -> Data:
    assert options.data and options.batch
    return fit(options.data, gan.streams, gan.prepare, options.batch, options.seed, rank, options.devices)


def _diagram(spec: Any) -> str | None:
    """The spec's picture as SVG; None where nothing is installed that draws."""
    try:
        from gangraph.draw import draw

        return str(draw(spec, quick=True))
    except ImportError:
        return None


def _fabric(options: Options) -> Fabric:
    from lightning_fabric import Fabric

    assert options.precision
    # Only the launcher and the collectives of ddp_spawn are used: no module is wrapped.
    return Fabric(
        accelerator="auto",
        devices=options.devices,
        strategy="auto" if options.devices == 1 else "ddp_spawn",
        precision=PRECISIONS[options.precision],  # type: ignore[arg-type]
    )


def _worker(fabric: Fabric, *, folder: str, options: Options) -> tuple[int, int]:
    """One of several processes; what it returns must be plain to pass between them."""
    run = Run(folder, say)
    gan = compiled(Path(folder) / SPEC, options.seed, settled=True)
    gan.sync = lambda value: fabric.all_reduce(value, reduce_op="mean")
    state = run.checkpoints.latest()
    quiet = options.quiet or fabric.global_rank > 0
    fitted = _fit(gan, options, fabric.global_rank)
    if state is None:
        _begin(gan, fitted, options)
    result = _train(fabric, gan, fitted, run, state, replace(options, quiet=quiet))
    return result.step, result.stopped


# --- the loop -----------------------------------------------------------------------------------------------------


@dataclass
class Cursor:
    """Where a run is in its data: all that a checkpoint holds besides the compiled object."""

    fetched: int = 0  # batches taken so far
    epoch: int = 0
    epoch_began: int = 0  # at this step

    def clocks(self, step: int, batches: int, count: int) -> dict[str, int]:
        """The clocks of an iteration that takes `count` batches, where an epoch has `batches`."""
        if self.fetched // batches != self.epoch:
            self.epoch, self.epoch_began = self.fetched // batches, step
        steps = max(1, batches // max(1, count))
        return {"epoch": self.epoch, "epoch_step": step - self.epoch_began, "epoch_steps": steps}


def _train(fabric: Fabric, gan: Any, data: Data, run: Run, state: State | None, options: Options) -> Result:
    gan.to(fabric.device)
    cursor, stage = Cursor(), gan.clocks.get("stage")
    if state:
        gan.load_state_dict(state["gan"])
        cursor = Cursor(**state["cursor"])
    if gan.clocks.get("stage") != stage:
        data, stage = _fit(gan, options, fabric.global_rank), gan.clocks.get("stage")
    step, stopped, chief = int(gan.clocks["step"]), 0, fabric.global_rank == 0
    total = _total(gan, data, options, step, cursor.fetched)
    if step >= total:
        say(f"{run} is at iteration {step} already, of {total}: --iterations N goes further")
        return Result(run.folder, step)
    desk = Desk(run, gan, options, fabric, step) if chief else None

    with _interrupts() as interrupted, _progress(options, gan.spec.name, step, total) as advance:
        try:
            if desk and state is None:
                desk.save(cursor)
            while step < total and not (stopped := _largest(fabric, *interrupted)):
                count = int(gan.fetches())
                for name, value in cursor.clocks(step, data.batches, count).items():
                    gan.clocks[name] = value
                # One iteration.
                batches = [fabric.to_device(batch) for batch in data.take(cursor.fetched, count)]
                try:
                    with fabric.autocast():
                        values = gan.step(batches, seed=_step_seed(options.seed, step, fabric.global_rank))
                except (IndexError, RuntimeError) as error:
                    raise RunError(f"iteration {step} stops: {error}") from error
                step, cursor.fetched = step + 1, cursor.fetched + count - gan.left
                numbers = _numbers(values)
                _check_finite(numbers, gan, step, run)
                if gan.clocks.get("stage") != stage:  # inputs may have grown
                    data.close()
                    data, stage = _fit(gan, options, fabric.global_rank), gan.clocks.get("stage")
                total = _total(gan, data, options, step, cursor.fetched)
                # What is left for people, and for the next start.
                advance(step, total, numbers)
                if desk:
                    if desk.is_mark(step, total):
                        desk.show(step, data)
                        numbers |= desk.watch(step, data)
                    desk.log(step, total, cursor.epoch, numbers)
                    if desk.is_mark(step, total) or desk.is_late():
                        desk.save(cursor)
            if desk and step < total:
                desk.save(cursor)
        finally:
            data.close()
            if desk:
                desk.close()
    if stopped and chief:
        say(f"stopped after iteration {step} of {total}, and saved: --resume goes on")
    return Result(run.folder, step, stopped)


def _largest(fabric: Fabric, signal: int = 0, *more: int) -> int:
    """The signal that one of the processes has had, or 0: they stop together."""
    if fabric.world_size == 1:
        return signal
    found = fabric.all_reduce(torch.tensor(float(signal), device=fabric.device), reduce_op="max")
    assert isinstance(found, Tensor)
    return int(found)


def _spec_of(gan: Any) -> dict[str, Any]:
    return {"name": gan.spec.name, "hash": gan.spec.hash, "fields": dict(gan.spec.fields())}


def _step_seed(seed: int, step: int, rank: int) -> int:
    """One integer for all draws of an iteration."""
    return int(stream_rng(seed, "step", step, rank).integers(2**62))


def _total(gan: Any, data: Data, options: Options, step: int, fetched: int) -> int:
    """How many iterations the run has; where epochs count and fetches vary, as far as can be told now."""
    assert options.batch
    plan = gan.spec.train
    if options.iterations or plan.get("iterations"):
        return int(options.iterations or plan["iterations"])
    if plan.get("images"):
        return math.ceil(int(plan["images"]) / options.batch)
    if plan.get("epochs"):
        left = int(plan["epochs"]) * data.batches - fetched
        return step + max(0, math.ceil(left / max(1, int(gan.fetches()))))
    raise RunError("the spec does not say how long to train: --iterations N")


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Plain numbers, fetched from the device in one go."""
    tensors = {k: v.detach().reshape(()).double() for k, v in values.items() if isinstance(v, Tensor)}
    fetched = dict(zip(tensors, torch.stack(list(tensors.values())).tolist(), strict=True)) if tensors else {}
    return {k: fetched[k] if k in fetched else float(v) for k, v in values.items()}


def _check_finite(numbers: Mapping[str, float], gan: Any, step: int, run: Run) -> None:
    """Raises `RunError` with the first loss, objective or parameter that is not finite, in the order of evaluation."""
    name = next((k for k, v in numbers.items() if not math.isfinite(v)), None)
    value = numbers[name] if name else 0.0
    if name is None:
        found = _first_infinite(gan.networks)
        if found is None:
            return
        name, value = found
    kept = run.checkpoints.paths()
    where = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
    raise RunError(f"iteration {step}: {name} is {value}; {where}")


def _first_infinite(networks: torch.nn.ModuleDict) -> tuple[str, float] | None:
    named = [(name, p.detach()) for name, p in networks.named_parameters() if p.numel()]
    sums = torch.stack([p.sum(dtype=torch.float32) for _, p in named]) if named else torch.zeros(1)
    if bool(sums.isfinite().all()):
        return None
    for name, p in named:  # a sum may overflow where no entry does
        bad = p[~p.isfinite()]
        if bad.numel():
            return name, float(bad[0])
    return None


class Desk:
    """What the first process writes: metrics, samples, curves, checkpoints."""

    def __init__(self, run: Run, gan: Any, options: Options, fabric: Fabric, step: int):
        self.run, self.gan, self.options, self.fabric = run, gan, options, fabric
        self.metrics = Metrics(run.folder / METRICS, step)
        if step and not self.metrics.rows:
            run.say(f"{run.folder / METRICS} has nothing of the {step} iterations before: it begins anew")
        self.board = _board(run.folder)
        self.saved = self.drawn = time.monotonic()
        self.judge: Judge | None = None
        self.judged: Any = ()  # the stage that the judge was made for
        self.watcher = Watch()
        for row in self.metrics.rows:  # of a run that goes on
            if ALARMS in row:
                self.watcher.hear(_figures(row))

    def log(self, step: int, total: int, epoch: int, numbers: Mapping[str, float]) -> None:
        if step == 1 or self.is_mark(step, total) or step % max(1, total // LOGGED) == 0:
            kept = {f"state/{k}": v for k, v in self.gan.state.items() if isinstance(v, int | float)}
            self.look()
            row = {"step": step, "epoch": epoch, "images": int(self.gan.clocks["images"]), **numbers, **kept}
            self.metrics.add(row | ({ALARMS: sorted(self.watcher.ringing)} if self.is_mark(step, total) else {}))
            if self.board:
                with suppress(OSError, ValueError):  # as it calls what it cannot write; the other files tell of it
                    self.board.log_metrics({**numbers, **kept}, step)

    def is_mark(self, step: int, total: int) -> bool:
        return step == total or step % _round(total / MARKS) == 0

    def is_late(self) -> bool:
        return time.monotonic() - self.saved > SAVE_EVERY

    def look(self) -> None:
        """Raises `RunError` where the run is no longer there."""
        if not (self.run.folder / SPEC).is_file():
            self.board = None  # whose thread would miss its file
            raise RunError(f"{self.run} is gone: somebody removed it, or its {SPEC}, while it was trained")

    def save(self, cursor: Cursor) -> None:
        self.look()
        state = {"gan": self.gan.state_dict(), "cursor": asdict(cursor), "run": asdict(self.options)}
        self.run.checkpoints.save(int(self.gan.clocks["step"]), state | {"spec": _spec_of(self.gan)})
        self.saved = time.monotonic()

    def show(self, step: int, data: Data) -> None:
        """Samples of every view, always from the same noise; now and then the curves."""
        for view in self.gan.views:
            each = self.gan.view_row(view)
            each = 2 if each == 1 and self.gan.view_inputs(view) else each  # inputs stand beside
            shown = max(1, _shown(self.gan) // each)
            values, beside = samples(self.gan, view, shown, data, self.options.seed, self.fabric)
            picture = pictures.png(values, beside, self.gan.view_range(view), self.gan.view_row(view))
            if picture:
                name = f"{step:06d}.png" if len(self.gan.views) == 1 else f"{step:06d}-{view}.png"
                self.run.write(f"samples/{name}", picture)
        if time.monotonic() - self.drawn > CURVES_EVERY:
            self.draw_curves()

    def watch(self, step: int, data: Data) -> dict[str, float]:
        """The figures of collapse, as `collapse/NAME`; an alarm that begins is said."""
        if self.judged != self.gan.clocks.get("stage"):
            self.judge, self.judged = judge_of(self.gan, data), self.gan.clocks.get("stage")
        report = collapse(self.gan, data, self.options.seed, self.fabric, self.judge)
        for alarm in self.watcher.hear(report.figures).values():
            say(f"iteration {step}: {alarm}")
        return {f"collapse/{name}": value for name, value in report.figures.items()}

    def draw_curves(self) -> None:
        if self.metrics.rows:
            self.run.write(LOSSES, pictures.losses(self.metrics.rows, self.gan.spec.name))
        self.drawn = time.monotonic()

    def close(self) -> None:
        self.metrics.close()
        with suppress(RunError):  # whatever ended the run is the message
            self.look()
            self.draw_curves()
        if self.board:
            with suppress(OSError):
                self.board.finalize("success")


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of collapse in a line of metrics.jsonl."""
    return {k.removeprefix("collapse/"): v for k, v in row.items() if k.startswith("collapse/")}


def _shown(gan: Any) -> int:
    """Fewer samples in a picture where they are large."""
    sizes = [t.shape[1] * t.shape[2] for members in gan.streams.values() for t in members.values() if t.kind == "image"]
    return int(min(SHOWN, max(4, PIXELS // max(sizes, default=1))))


def _round(value: float) -> int:
    """Downward to 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(max(1.0, value)))
    return next((int(k * power) for k in (5, 2) if k * power <= value), power)


def _board(folder: Path) -> Any:
    """A TensorBoard logger, where the package is installed."""
    with suppress(ImportError, ModuleNotFoundError):
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(folder, name="tensorboard", version="")
    return None


def say(message: str) -> None:
    """A line for the person who started the run."""
    with suppress(OSError):  # of a terminal that is gone
        print(message, file=sys.stderr, flush=True)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and the end of a terminal let the iteration end first: the list then has the signal. A second
    one ends at once.
    """
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _progress(
    options: Options, name: str, first: int, total: int
) -> Iterator[Callable[[int, int, Mapping[str, float]], None]]:
    """A progress bar with as many of the phases' objectives as fit; where nobody watches, a line now and then."""
    if options.quiet:
        yield lambda step, total, numbers: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console()
    if not console.is_terminal:
        said = -math.inf

        def tell(step: int, total: int, numbers: Mapping[str, float]) -> None:
            nonlocal said
            if step == total or time.monotonic() - said > TOLD_EVERY:
                said = time.monotonic()
                print(f"{name} {step}/{total}  {_objectives(numbers, WIDTH)}".rstrip(), flush=True)

        yield tell
        return
    bar_width, room = _shared(console.width, len(name), total)
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(_cut(name, room), total=total, completed=first, losses="")

        def advance(step: int, total: int, numbers: Mapping[str, float]) -> None:
            shown = _objectives(numbers, room - len(name) - 1)
            bar.update(task, completed=step, total=total, losses=shown)

        yield advance


def _shared(width: int, name: int, total: int) -> tuple[int, int]:
    """How wide the bar is, and how much is left for a name of so many letters and the objectives.

    >>> _shared(80, 6, 2000), _shared(80, 29, 100_000), _shared(200, 6, 2000)
    ((20, 23), (10, 29), (20, 143))
    """
    free = width - len(f"{total}/{total} 00:00:00 left 00:00:00") - 5  # what stands always, and what is between
    bar = max(SHORTEST, min(LONGEST, free - name))
    return bar, max(0, free - bar)


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else name[: max(0, room - 1)] + "…"


def _objectives(numbers: Mapping[str, float], room: int) -> str:
    """The first objectives that have room on a line.

    >>> _objectives({"D": 1.25, "D/adv": 1.25, "G": 0.5}, 16), _objectives({"D": 1.25, "G": 0.5}, 14)
    ('D 1.250  G 0.500', 'D 1.250')
    """
    shown = ""
    for name, value in numbers.items():
        more = f"{shown}  {name} {value:.3f}".lstrip()
        if "/" not in name and "." not in name:
            if len(more) > room:
                break
            shown = more
    return shown


# --- after training -----------------------------------------------------------------------------------------------


def sample_run(
    run: str | Path,
    n: int = 64,
    view: str | None = None,
    out: str | Path = "samples.png",
    seed: int = 0,
    data: str | None = None,
) -> Path:
    """Samples of a run: a grid as `.png` (of one view), or `.npz`, one array [n, C, H, W] (or [n, d]) for each view.

    Views that are made from data take those of the run, or the `data` that are said.
    """
    out = Path(out)
    if out.suffix not in (".png", ".npz"):
        raise RunError(f"{out}: samples are written as .png or .npz")
    if n < 1:
        raise RunError(f"-n is {n}, and must be 1 or more")
    gan, state = load_run(run)
    if view is not None and view not in gan.views:
        raise RunError(f"no view is called '{view}' (there are {', '.join(gan.views)})")
    views = [view] if view else list(gan.views)
    if not views:
        raise RunError(f"the spec of {run} has no `sample`: nothing says what to draw")
    saved = state["run"]
    found: Data | None = None
    if any(gan.view_inputs(v) for v in views):
        source = data_of(run, saved, data)
        found = fit(source, gan.streams, gan.prepare, saved["batch"], saved["seed"], fewer=True)
    made = {v: samples(gan, v, n, found, seed) for v in (views if out.suffix == ".npz" else views[:1])}
    if out.suffix == ".npz":
        write(out, _npz({v: values for v, (values, _) in made.items()}))
        return out
    picture = pictures.png(*made[views[0]], gan.view_range(views[0]), gan.view_row(views[0]))
    if picture is None:
        raise RunError(f"the view {views[0]} gives no images: write it as .npz")
    write(out, picture)
    return out


def load_run(run: str | Path) -> tuple[Any, State]:
    """The compiled object of a run folder in its last state, and the checkpoint."""
    folder = Path(run)
    if not (folder / SPEC).is_file():
        raise RunError(f"{run} is not the folder of a run: it has no {SPEC}")
    state = Run(folder, say).checkpoints.latest()
    if state is None:
        raise RunError(f"{run} has no checkpoint yet")
    gan = compiled(folder / SPEC, settled=True)
    check_same_spec(state, gan, f"{folder / SPEC} is not what {run} was trained from")
    gan.load_state_dict(state["gan"])
    return gan, state


def _npz(arrays: Mapping[str, Tensor]) -> bytes:
    import io

    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: values.numpy() for name, values in arrays.items()})
    return file.getvalue()
