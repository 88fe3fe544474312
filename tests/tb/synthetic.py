"""Report series as real trainings leave them, made without TensorFlow.

python -m tests.tb.synthetic OUT            # event files below OUT, to be shown by: tensorboard --logdir OUT
python -m tests.tb.synthetic OUT --answers  # and what each route answers, as files in OUT/../answers
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from introspect.proof import Proof, judge_values
from introspect.records import (
    Environment,
    EvidenceStep,
    Finding,
    FixResult,
    FixTrial,
    Flow,
    FlowNode,
    LayerReport,
    Location,
    Measured,
    ModelSummary,
    OptimizerReport,
    Report,
    SlotReport,
    TraceReport,
    Updated,
    VariableReport,
    Write,
)
from introspect.report.norms import NormSample
from introspect.report.writer import ReportWriter

START = 1_795_460_000.0
FIT = Location("finetune.py", 30, "main")
CPU = "/job:localhost/replica:0/task:0/device:CPU:0"
GPU = "/job:localhost/replica:0/task:0/device:GPU:{}"


@dataclass(frozen=True)
class Sample:
    """Norms of all variables at one step."""

    step: int
    gradient: tuple[float | None, ...]
    update: tuple[float | None, ...]
    weight: tuple[float | None, ...]


@dataclass(frozen=True)
class Shot:
    """One report of a series, with what the callback knows beside it."""

    report: Report
    epoch: int | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Look:
    """A look at the values while the report before it was in force; `ages` by path, all others changed."""

    step: int
    since: int
    ages: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """All that one training leaves in its directory, in the order in which it happened."""

    run: str
    events: tuple[Shot | Sample | Look, ...]

    @property
    def reports(self) -> list[Report]:
        """The reports alone."""
        return [event.report for event in self.events if isinstance(event, Shot)]


@dataclass(frozen=True)
class Layer:
    """A layer to be: its path, class, variables with their shapes, and its flags."""

    path: str
    class_name: str
    weights: tuple[tuple[str, tuple[int | None, ...]], ...] = ()
    trainable: bool = True
    updated: Updated = "yes"
    expected: bool | None = None
    device: str = GPU.format(0)
    replicas: tuple[str, ...] = ()
    statistics: tuple[str, ...] = ()
    gradient: str | None = None
    optimizer: str = "adam"
    extra: dict[str, object] = field(default_factory=dict)


def make_environment(**changes: object) -> Environment:
    """Versions and devices of the machine that these trainings pretend to have run on."""
    base = Environment("0.1.0", "2.21.0", "3.15.1", "3.11.9", (CPU, GPU.format(0)))
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def make_model(name: str, class_name: str = "Functional") -> ModelSummary:
    """The summary of a compiled Keras 3 model."""
    return ModelSummary(name, class_name, "keras", True, True, False, False, 1)


def make_variables(layers: Sequence[Layer], trace: str = "fit/0") -> tuple[VariableReport, ...]:
    """The variables of these layers, with the writes and slots that Adam would leave."""
    return tuple(row for layer in layers for row in _make_layer_variables(layer, trace))


def _make_layer_variables(layer: Layer, trace: str) -> Iterator[VariableReport]:
    for name, shape in layer.weights:
        moving = name in layer.statistics
        expected = not moving and (layer.trainable if layer.expected is None else layer.expected)
        updated: Updated = "no" if moving else layer.updated
        path = f"{layer.path}/{name}"
        yield VariableReport(
            path=path,
            shape=shape,
            dtype="float32",
            layer=layer.path,
            device=layer.device,
            trainable=not moving and layer.trainable,
            expected=expected,
            updated=updated,
            gradient=layer.gradient or ("dense" if updated in ("yes", "some") else "none"),  # type: ignore[arg-type]
            writes=tuple(_make_writes(path, layer, moving, updated, trace)),
            optimizer=layer.optimizer if updated in ("yes", "some") else None,
            slots=tuple(_make_slots(path, layer, updated)),
            gradient_device=layer.device if updated in ("yes", "some") else None,
            decided_by=layer.path,
            replicas=layer.replicas,
            **layer.extra,  # type: ignore[arg-type]
        )


def _make_writes(path: str, layer: Layer, moving: bool, updated: Updated, trace: str) -> Iterator[Write]:
    if updated in ("yes", "some"):
        op = f"StatefulPartitionedCall/adam/{path}/AssignSubVariableOp"
        yield Write("gradient", op, "AssignSubVariableOp", layer.device, layer.device, False, trace, "one_step", None)
    if moving:
        op = f"model/{path}/AssignVariableOp"
        place = Location("train.py", 24, "build_model")
        yield Write("statistics", op, "AssignVariableOp", layer.device, layer.device, False, trace, "one_step", place)


def _make_slots(path: str, layer: Layer, updated: Updated) -> Iterator[SlotReport]:
    if updated in ("yes", "some"):
        for slot in ("momentum", "velocity"):
            name = f"{layer.optimizer}/{path.replace('/', '_')}_{slot}"
            yield SlotReport(slot, name, updated, layer.device, layer.device)


def make_layers(layers: Sequence[Layer], variables: Sequence[VariableReport]) -> tuple[LayerReport, ...]:
    """The layer tree: these layers and the containers that their paths name."""
    rows: dict[str, LayerReport] = {}
    owned: dict[str, list[str]] = {}
    for row in variables:
        owned.setdefault(row.layer or "", []).append(row.path)
    for layer in layers:
        parts = layer.path.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth])
            rows.setdefault(
                path, LayerReport(path, parts[depth - 1], "Functional", "/".join(parts[: depth - 1]) or None, True)
            )
        parent = "/".join(parts[:-1]) or None
        rows[layer.path] = LayerReport(
            layer.path,
            parts[-1],
            layer.class_name,
            parent,
            layer.trainable,
            True,
            tuple(owned.get(layer.path, ())),
        )
    return tuple(rows.values())


def make_flow(layers: Sequence[Layer], cut_after: str | None = None) -> Flow:
    """A chain from the input through these layers to the loss, cut after one of them."""
    nodes = [FlowNode(0, "input", "input")]
    edges: list[tuple[int, int, bool]] = []
    alive = True
    for layer in layers:
        nodes.append(FlowNode(len(nodes), layer.path.rsplit("/", 1)[-1], "layer", layer.path))
        edges.append((len(nodes) - 2, len(nodes) - 1, alive))
        alive = True
        if layer.path == cut_after:
            place = Location("model.py", 57, "quantize")
            nodes.append(
                FlowNode(len(nodes), "ArgMax", "cut", layer.path, f"model/{layer.path}/ArgMax", "ArgMax", place)
            )
            edges.append((len(nodes) - 2, len(nodes) - 1, True))
            alive = False
    nodes.append(FlowNode(len(nodes), "mean_squared_error", "loss"))
    edges.append((len(nodes) - 2, len(nodes) - 1, True))
    return Flow(tuple(nodes), tuple(edges))


def make_report(model: ModelSummary, layers: Sequence[Layer], **changes: object) -> Report:
    """A report of one compiled trace without findings; `changes` replace fields of the report."""
    variables = make_variables(layers)
    updated = tuple(row.path for row in variables if row.updated == "yes")
    base = Report(
        model=model,
        source="compiled",
        findings=(),
        variables=variables,
        layers=make_layers(layers, variables),
        optimizers=(OptimizerReport("adam", "Adam", 0.001, updated, True, (("clipnorm", "1.0"),)),),
        traces=(
            TraceReport("fit/0", "(None, 224, 224, 3) float32, (None,) int64", 1893, 4, updated, True, location=FIT),
        ),
        environment=make_environment(),
        timings=(("capture", 0.214), ("flatten", 0.051), ("evidence", 0.038), ("rules", 0.004)),
        flow=make_flow(layers),
        created=START,
    )
    return with_findings(dataclasses.replace(base, **changes))  # type: ignore[arg-type]


def with_findings(report: Report) -> Report:
    """The report with each variable told which findings name it."""
    named: dict[str, list[str]] = {}
    for finding in report.findings:
        for path in finding.variables:
            named.setdefault(path, []).append(finding.rule)
    rows = tuple(dataclasses.replace(row, findings=tuple(named.get(row.path, ()))) for row in report.variables)
    return dataclasses.replace(report, variables=rows)


def with_norms(report: Report, sample: Sample) -> Report:
    """The report with a sample's norms as its variables' measured facts."""
    rows = tuple(
        dataclasses.replace(
            row, measured=Measured(g, u, w, _zeros(g), _finite(g), None if u is None else u > 0, row.device)
        )
        for row, g, u, w in zip(report.variables, sample.gradient, sample.update, sample.weight, strict=True)
    )
    return dataclasses.replace(report, variables=rows)


def _zeros(norm: float | None) -> float | None:
    return None if norm is None else (1.0 if norm == 0 else 0.0)


def _finite(norm: float | None) -> bool | None:
    return None if norm is None else math.isfinite(norm)


VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def make_vgg_layers(backbone_trainable: bool, backbone_updated: Updated) -> list[Layer]:
    """VGG16 with a new head: 13 convolutions in `backbone`, three dense layers on top."""
    layers, channels = [], 3
    for block, (width, depth) in enumerate(VGG_BLOCKS, 1):
        for conv in range(1, depth + 1):
            weights = (("kernel", (3, 3, channels, width)), ("bias", (width,)))
            path = f"backbone/block{block}_conv{conv}"
            layers.append(Layer(path, "Conv2D", weights, backbone_trainable, backbone_updated))
            channels = width
    for name, fan_in, fan_out in (("fc1", 25088, 4096), ("fc2", 4096, 4096), ("predictions", 4096, 10)):
        layers.append(Layer(f"head/{name}", "Dense", (("kernel", (fan_in, fan_out)), ("bias", (fan_out,)))))
    return layers


def make_stale_finding(report: Report) -> Finding:
    """The finding of an unfreezing that came after the step was compiled."""
    paths = tuple(row.path for row in report.variables if row.expected and row.updated == "no")
    stale = set(paths)
    layers = tuple(dict.fromkeys(row.layer for row in report.variables if row.path in stale and row.layer))
    count = len(paths)
    return Finding(
        "INT103",
        "trainable-variable-not-updated",
        "error",
        "proven",
        paths,
        layers,
        f"{count} of {sum(row.expected for row in report.variables)} variables that are set trainable do not train: "
        "the step was compiled before.",
        "`trainable` was set to True at finetune.py:41 after the step was traced at finetune.py:30; "
        "Keras goes on with the traced step.",
        "model.compile(optimizer=keras.optimizers.Adam(1e-5), loss=model.loss)\n# or, to keep the optimizer's state:\n"
        "introspect.recompile(model, keep_optimizer_state=True)",
        (
            EvidenceStep(
                "the step reads it",
                "one_step/backbone/block1_conv1/ReadVariableOp",
                "ReadVariableOp",
                GPU.format(0),
                layers[0],
                None,
                "fit/0",
            ),
            EvidenceStep("flag written here", location=Location("finetune.py", 41, "unfreeze")),
            EvidenceStep("step traced here", location=Location("finetune.py", 30, "main"), trace="fit/0"),
        ),
        True,
        FixResult(tuple(row.path for row in report.variables), (), "traced on a copy: all 32 variables train"),
    )


def make_vgg_series(run: str = "vgg") -> Series:
    """A fine-tune that unfreezes at epoch 3, notices at epoch 5, and recompiles."""
    model = make_model("vgg16_finetune")
    frozen = make_report(model, make_vgg_layers(False, "no"), reason="first trace", step=0, created=START)
    stale = make_report(model, make_vgg_layers(True, "no"), reason="flag changed", step=300, created=START + 90)
    stale = with_findings(dataclasses.replace(stale, findings=(make_stale_finding(stale),)))
    healthy = make_report(model, make_vgg_layers(True, "yes"), reason="recompiled", step=0, created=START + 150)
    before = [_make_vgg_sample(step, step, healthy, False) for step in range(10, 491, 10)]
    after = [_make_vgg_sample(step, step + 490, healthy, True) for step in range(10, 311, 10)]
    still = dataclasses.replace(stale, reason="epoch", step=400, created=START + 120)
    end = dataclasses.replace(healthy, reason="train end", step=310, created=START + 240)
    events: tuple[Shot | Sample | Look, ...] = (
        Shot(frozen, 0),
        *before[:30],
        Look(300, 200, frozen_ages(frozen, 299)),
        Shot(with_norms(stale, before[29]), 3, "trainable of backbone (26 variables) set without a recompile"),
        *before[30:40],
        Look(400, 300, frozen_ages(frozen, 399)),
        Shot(with_norms(still, before[39]), 4),
        *before[40:],
        Shot(healthy, 5, "a new train function; the optimizer is new"),
        *after,
        Shot(with_norms(end, after[-1]), 8),
        Look(310, 210),
    )
    return Series(run, events)


def frozen_ages(report: Report, age: int) -> dict[str, int]:
    """The same age for all that a report's step does not train."""
    return {row.path: age for row in report.variables if row.updated == "no"}


def _make_vgg_sample(step: int, total: int, report: Report, unfrozen: bool) -> Sample:
    alive = [unfrozen or row.path.startswith("head/") for row in report.variables]
    gradient = tuple(
        2.0 * math.exp(-total / 300) / (1 + row / 8) * (1 + 0.2 * math.sin(total / 20 + row)) if live else None
        for row, live in enumerate(alive)
    )
    update = tuple(0.001 * norm if norm is not None else 0.0 for norm in gradient)
    return Sample(step, gradient, update, tuple(10.0 + row * 0.1 + total / 1000 for row in range(len(alive))))


def make_wgan_series(run: str = "wgan") -> Series:
    """A WGAN whose step updates its critic five times, with what was measured of one step."""
    layers = [Layer(name, "Dense", (("kernel", (4, 4)),), optimizer="adam") for name in ("critic", "generator")]
    report = make_report(make_model("wgan", "WGAN"), layers, reason="first trace", step=0)
    measured = Measured(1.25, 0.5, 3.0, 0.0, True, True, None)
    critic, generator = (dataclasses.replace(row, measured=measured) for row in report.variables)
    critic = dataclasses.replace(critic, writes=critic.writes * 5)
    return Series(run, (Shot(dataclasses.replace(report, variables=(critic, generator)), 0),))


def make_gan_series(run: str = "gan") -> Series:
    """A healthy GAN: one step, two optimizers, each for its half of the variables."""
    dense = (("kernel", (128, 256)), ("bias", (256,)))
    batch = (("gamma", (256,)), ("beta", (256,)), ("moving_mean", (256,)), ("moving_variance", (256,)))
    layers = []
    for part in ("generator", "discriminator"):
        for index in range(4):
            layers.append(Layer(f"{part}/dense_{index}", "Dense", dense, optimizer=f"adam_{part}"))
            layers.append(
                Layer(
                    f"{part}/batch_{index}",
                    "BatchNormalization",
                    batch,
                    statistics=("moving_mean", "moving_variance"),
                    optimizer=f"adam_{part}",
                )
            )
    report = make_report(make_model("gan", "GAN"), layers, reason="first trace", step=0)
    tracks = {
        part: tuple(row.path for row in report.variables if row.path.startswith(part) and row.expected)
        for part in ("generator", "discriminator")
    }
    report = dataclasses.replace(
        report,
        optimizers=tuple(
            OptimizerReport(f"adam_{part}", "Adam", 0.0002, paths, True) for part, paths in tracks.items()
        ),
    )
    later = dataclasses.replace(report, reason="train end", step=2000, created=START + 400)
    return Series(run, (Shot(report, 0), Shot(later, 9)))


def make_proof_series(run: str = "proof") -> Series:
    """A healthy report that the values contradict: a frozen layer is written from outside, a trained one stays."""
    dense = (("kernel", (8, 8)), ("bias", (8,)))
    layers = [Layer(f"tower/dense_{index}", "Dense", dense) for index in range(40)]
    layers += [Layer("frozen", "Dense", dense, False, "no"), Layer("head", "Dense", dense)]
    report = make_report(make_model("proof"), layers, reason="first trace", step=1)
    paths = [row.path for row in report.variables]
    samples = [
        Sample(step, (0.5,) * len(paths), (0.25,) * len(paths), (2.0,) * len(paths)) for step in range(10, 101, 10)
    ]
    quiet = {"frozen/kernel": 39, "frozen/bias": 39}
    loud = {"frozen/bias": 99, "head/kernel": 60, "adam/head_kernel_velocity": 60}
    end = dataclasses.replace(report, reason="train end", step=100, created=START + 60)
    return Series(run, (Shot(report, 0), *samples, Look(40, 1, quiet), Shot(end, 3), Look(100, 40, loud)))


def make_replica_series(run: str = "two_replicas") -> Series:
    """MirroredStrategy on two GPUs, BatchNorm statistics of a frozen layer that move."""
    both = (GPU.format(0), GPU.format(1))
    weights = (("kernel", (None, 64)), ("bias", (64,)))
    batch = (("gamma", (64,)), ("beta", (64,)), ("moving_mean", (64,)), ("moving_variance", (64,)))
    layers = [
        Layer("stem/dense", "Dense", weights, replicas=both),
        Layer(
            "stem/norm",
            "BatchNormalization",
            batch,
            False,
            "no",
            replicas=both,
            statistics=("moving_mean", "moving_variance"),
        ),
        Layer("head", "Dense", weights, replicas=both),
    ]
    environment = make_environment(devices=(CPU, *both), strategy="MirroredStrategy, 2 replicas")
    report = make_report(make_model("mirrored"), layers, environment=environment, reason="first trace", step=0)
    moved = ("stem/norm/moving_mean", "stem/norm/moving_variance")
    finding = Finding(
        "INT102",
        "frozen-layer-statistics-updated",
        "error",
        "proven",
        moved,
        ("stem/norm",),
        "The moving statistics of the frozen layer stem/norm change with each step.",
        "The layer is called with training=True at model.py:18, which overrides its flag.",
        "x = self.norm(x)  # without training=True",
        (
            EvidenceStep(
                "writes the statistics",
                "stem/norm/AssignVariableOp",
                "AssignVariableOp",
                both[0],
                "stem/norm",
                Location("model.py", 18, "call"),
                "fit/0",
            ),
        ),
    )
    report = with_findings(dataclasses.replace(report, findings=(finding,)))
    return Series(run, (Shot(report, 0), Shot(dataclasses.replace(report, reason="new batch signature", step=60), 0)))


def make_cut_series(run: str = "cut") -> Series:
    """An argmax between encoder and decoder: nothing before it gets a gradient. One opaque op, one sparse gradient."""
    dense = (("kernel", (64, 64)), ("bias", (64,)))
    layers = [
        Layer("encoder/embed", "Embedding", (("embeddings", (10_000, 64)),), True, "no", gradient="none"),
        *(Layer(f"encoder/block_{index}", "Dense", dense, True, "no", gradient="none") for index in range(6)),
        Layer("quantize", "Quantize"),
        Layer("codebook", "Embedding", (("embeddings", (512, 64)),), True, "yes", gradient="sparse"),
        *(Layer(f"decoder/block_{index}", "Dense", dense) for index in range(6)),
        Layer(
            "decoder/custom",
            "PyLayer",
            dense,
            True,
            "unknown",
            gradient="unknown",
            extra={"reason": "EagerPyFunc: PyFunc in one_step hides what it does"},
        ),
    ]
    report = make_report(
        make_model("vq_autoencoder"), layers, reason="first trace", step=0, flow=make_flow(layers, "quantize")
    )
    paths = tuple(row.path for row in report.variables if row.path.startswith("encoder/"))
    others = tuple(row.path for row in report.variables if row.updated == "yes")
    freeze = '# or, where the cut is meant, freeze what lies before it:\nmodel.get_layer("encoder").trainable = False'
    finding = Finding(
        "INT104",
        "no-gradient",
        "warning",
        "proven",
        paths,
        ("encoder/embed", *(f"encoder/block_{index}" for index in range(6))),
        f"No gradient reaches {len(paths)} trainable variables of encoder.",
        "ArgMax at model.py:57 (quantize) ends the only way from the loss back to them.",
        "onehot = tf.one_hot(tf.argmax(scores, -1), 512)\nout = scores + tf.stop_gradient(onehot - scores)\n" + freeze,
        (
            EvidenceStep(
                "ends the way",
                "model/quantize/ArgMax",
                "ArgMax",
                GPU.format(0),
                "quantize",
                Location("model.py", 57, "quantize"),
                "fit/0",
            ),
        ),
        fix_result=FixResult((), paths, "compiled again, optimizer state kept, which does not mend it"),
        trials=(FixTrial(others, (), "encoder frozen, then compiled again, which mends it", freeze, True),),
    )
    rate = Finding(
        "INT301",
        "learning-rate-zero",
        "info",
        "likely",
        (),
        (),
        "The learning rate is 0 now.",
        "CosineDecay has ended.",
        "Set a floor: alpha=0.1.",
    )
    report = with_findings(dataclasses.replace(report, findings=(finding, rate)))
    optimizer = dataclasses.replace(report.optimizers[0], learning_rate="CosineDecay")
    return Series(run, (Shot(dataclasses.replace(report, optimizers=(optimizer,)), 0),))


def make_huge_report(count: int = 100_000, **changes: object) -> Report:
    """`count` variables in blocks of ten, a twentieth of them stale."""
    layers = []
    weights = (("kernel", (1024, 1024)), ("bias", (1024,)))
    names = ("query", "key", "value", "out", "mlp")
    for index in range(count // 2):
        stage, block, name = index // 500, index // 5 % 100, names[index % 5]
        stale = stage % 20 == 0
        path = f"decoder/stage_{stage}/block_{block}/{name}"
        layers.append(Layer(path, "Dense", weights, True, "no" if stale else "yes"))
    report = make_report(make_model("huge"), layers, **{"flow": make_flow(layers[:200]), **changes})
    return with_findings(dataclasses.replace(report, findings=(make_stale_finding(report),)))


def make_huge_series(run: str = "huge", count: int = 100_000) -> Series:
    """Two reports of a very large model."""
    first = make_huge_report(count, reason="first trace", step=0)
    return Series(run, (Shot(first, 0), Shot(dataclasses.replace(first, reason="train end", step=900), 2)))


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "../../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "__proto__",
    "constructor",
    "a\nb\r\tc\0d",
    "\u202egnp.exe",
    "javascript:alert(1)",
    "{{7*7}} ${7*7} %s %n",
    "x" * 3000,
    "\U0001f469\u200d\U0001f52c e\u0301 \udcff",
    "",
    " ",
)


def make_hostile_series(run: str = "<img src=x onerror=alert(2)>") -> Series:
    """Names that want to be code, paths or formulas; numbers that JSON does not have."""
    layers = [Layer(f"{name}#{index}", name, ((name, (2, None)), ("bias", ()))) for index, name in enumerate(HOSTILE)]
    report = make_report(make_model(HOSTILE[0], HOSTILE[1]), layers, reason=HOSTILE[0], step=0)
    finding = dataclasses.replace(
        make_stale_finding(
            dataclasses.replace(
                report, variables=tuple(dataclasses.replace(row, updated="no") for row in report.variables)
            )
        ),
        message=HOSTILE[0],
        cause=HOSTILE[1],
        fix=HOSTILE[3],
        evidence=tuple(EvidenceStep(name, name, name, name, name, Location(name, -1, name), name) for name in HOSTILE),
    )
    report = with_findings(dataclasses.replace(report, findings=(finding,)))
    odd: tuple[float | None, ...] = (math.nan, math.inf, -math.inf, 0.0, 1e-45, 3e38, None)
    count = len(report.variables)
    norms = tuple(odd[index % len(odd)] for index in range(count))
    sample = Sample(3, norms, norms[::-1], norms)
    return Series(run, (Shot(with_norms(report, sample), 0, HOSTILE[1]), dataclasses.replace(sample, step=9)))


SERIES: dict[str, Callable[[], Series]] = {
    "vgg": make_vgg_series,
    "gan": make_gan_series,
    "wgan": make_wgan_series,
    "two_replicas": make_replica_series,
    "cut": make_cut_series,
    "proof": make_proof_series,
    "hostile": make_hostile_series,
    "huge": make_huge_series,
}


def make_proof(look: Look, report: Report) -> Proof:
    """The look as a training would have taken it."""
    every = [*report.variables, *(slot for row in report.variables for slot in row.slots)]
    ages = {row.path: look.ages.get(row.path, 0) for row in every}
    return Proof(look.step, look.since, look.step - look.since, START, 0.02, *judge_values(ages, report, [report]))


def write_series(series: Series, root: str, folder: str | None = None) -> str:
    """Write a series below `root` as a training would have; returns the run's name in TensorBoard."""
    name = series.run if folder is None else folder
    paths = tuple(row.path for row in series.reports[0].variables)
    report, place = series.reports[0], None
    with ReportWriter(os.path.join(root, name)) as writer:
        for event in series.events:
            if isinstance(event, Shot):
                report = event.report
                place = writer.append(report, epoch=event.epoch, detail=event.detail)
            elif isinstance(event, Look):
                assert place is not None
                writer.append_proof(make_proof(event, report), place)
            else:
                writer.append_norms(NormSample(paths, event.step, event.gradient, event.update, event.weight))
    return f"{name}/introspect"


def write_all(root: str, names: Iterable[str]) -> list[str]:
    """Write the series of these names; the hostile one under a name that wants to be a tag."""
    return [write_series(SERIES[name](), root) for name in names]


def dump_answers(root: str, out: str) -> None:
    """Save what each route answers about the runs below `root`, asked through TensorBoard's own application."""
    from tests.tb.serving import LogClient

    client = LogClient(root)
    os.makedirs(out, exist_ok=True)

    def save(name: str, route: str, **query: Any) -> Any:
        answer = client.ask(route, **query)
        with open(os.path.join(out, name), "wb") as file:
            file.write(answer.data)
        return answer

    runs = save("runs.json", "runs").json
    for state in runs["runs"]:
        run, label = state["run"], re.sub(r"[^a-z_]+", "_", state["run"].split("/")[0])
        marks = save(f"{label}.timeline.json", "timeline", run=run).json["marks"]
        for mark in marks:
            report = save(f"{label}.report.{mark['at']}.json", "report", run=run, at=mark["at"]).json
        save(f"{label}.compare.json", "compare", run=run, with_at=marks[0]["at"])
        save(f"{label}.latest_norms.json", "latest_norms", run=run)
        save(f"{label}.norms.json", "norms", run=run, variable=report["strings"][report["variables"]["path"][0]])
        save(f"{label}.export.csv", "export", run=run, format="csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the series that are asked for, and their answers."""
    parser = argparse.ArgumentParser(description="Write report series as real trainings leave them.")
    parser.add_argument("out")
    parser.add_argument("--only", nargs="+", choices=sorted(SERIES), default=list(SERIES))
    parser.add_argument("--answers", action="store_true", help="also what each route answers, below OUT/../answers")
    chosen = parser.parse_args(arguments)
    for run in write_all(chosen.out, chosen.only):
        print(run)
    if chosen.answers:
        dump_answers(chosen.out, os.path.join(chosen.out, os.pardir, "answers"))


if __name__ == "__main__":
    main()
