"""Reports made by hand: a stale fine-tune, a healthy one, a GAN, a large one, a hostile one, an empty one."""

from __future__ import annotations

import dataclasses

from introspect.records import (
    Environment,
    EvidenceStep,
    Finding,
    FixResult,
    FixTrial,
    LayerReport,
    Location,
    Measured,
    ModelSummary,
    OptimizerReport,
    Report,
    SlotReport,
    TraceReport,
    VariableReport,
    Write,
)

CPU = "/job:localhost/replica:0/task:0/device:CPU:0"
GPU = "/job:localhost/replica:0/task:0/device:GPU:0"
ENVIRONMENT = Environment("0.1.0", "2.21.0", "3.15.1", "3.11.9", (CPU, GPU))
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
CONVS = tuple(f"block{block}_conv{i}" for block, size in BLOCKS for i in range(1, size + 1))


def make_write(kind="gradient", device=GPU, **changes) -> Write:
    base = Write(kind, "adam/AssignSubVariableOp", "AssignSubVariableOp", device, None, False, "t1", "one_step", None)
    return dataclasses.replace(base, **changes)


def make_variable(path, trains=True, expected=None, layer=None, kind="gradient", **changes) -> VariableReport:
    slots = tuple(
        SlotReport(name, f"adam/{path.replace('/', '_')}_{name}", "yes", GPU, None) for name in ("momentum", "velocity")
    )
    base = VariableReport(
        path=path,
        shape=(3, 3, 64),
        dtype="float32",
        layer=layer,
        device=GPU,
        trainable=trains if expected is None else expected,
        expected=trains if expected is None else expected,
        updated="yes" if trains else "no",
        gradient="dense" if trains else "none",
        writes=(make_write(kind),) if trains or kind != "gradient" else (),
        optimizer="adam" if trains else None,
        slots=slots if trains else (),
        gradient_device=GPU if trains else None,
    )
    return dataclasses.replace(base, **changes)


def make_layer(path, parent, class_name="Conv2D", variables=(), trainable=True) -> LayerReport:
    return LayerReport(path, path.rpartition("/")[2], class_name, parent, trainable, True, tuple(variables))


def make_model(name="vgg_finetune", class_name="Functional", **changes) -> ModelSummary:
    return dataclasses.replace(ModelSummary(name, class_name, "keras", True, True, False, False, 1), **changes)


def make_report(variables, layers, findings=(), **changes) -> Report:
    updated = tuple(row.path for row in variables if row.updated == "yes")
    trace = TraceReport(
        "t1",
        "((None, 224, 224, 3) float32, (None,) int64)",
        nodes=3412,
        functions=3,
        updated=updated,
        current=True,
        location=Location("finetune.py", 30, "main"),
    )
    base = Report(
        model=make_model(),
        source="compiled",
        findings=tuple(findings),
        variables=tuple(variables),
        layers=tuple(layers),
        optimizers=(OptimizerReport("adam", "Adam", 1e-3, updated, True),),
        traces=(trace,),
        environment=ENVIRONMENT,
        timings=(("capture", 0.21), ("analyse", 0.1)),
        created=1_790_000_000.0,
    )
    return dataclasses.replace(base, **changes)


def make_vgg(base_expected: bool) -> tuple[list[VariableReport], list[LayerReport]]:
    """26 variables of the base, which the step does not train, and 6 of the head, which it does."""
    layers = [make_layer("vgg16", None, "Functional", trainable=base_expected)]
    variables = []
    for conv in CONVS:
        paths = [f"vgg16/{conv}/kernel", f"vgg16/{conv}/bias"]
        layers.append(make_layer(f"vgg16/{conv}", "vgg16", "Conv2D", paths, base_expected))
        variables += [make_variable(path, False, base_expected, f"vgg16/{conv}") for path in paths]
    layers.append(make_layer("flatten", None, "Flatten"))
    for name in ("fc1", "fc2", "predictions"):
        paths = [f"{name}/kernel", f"{name}/bias"]
        layers.append(make_layer(name, None, "Dense", paths))
        variables += [make_variable(path, layer=name) for path in paths]
    return variables, layers


def make_stale() -> Report:
    """A VGG16 unfrozen after its first fit, without compiling again."""
    variables, layers = make_vgg(base_expected=True)
    frozen = tuple(row.path for row in variables if row.updated == "no")
    head = tuple(row.path for row in variables if row.updated == "yes")
    finding = Finding(
        rule="INT103",
        name="trainable-variable-not-updated",
        severity="error",
        certainty="proven",
        variables=frozen,
        layers=("vgg16",),
        message="26 variables of vgg16 are trainable, and the compiled step does not update them.",
        cause="The step was traced while vgg16 was frozen. Keras keeps that trace, whatever the flags say later, "
        "until the model is compiled again or the batch signature changes.",
        fix="Compile again after the flags are set:\n\n"
        "    model.compile(optimizer=keras.optimizers.Adam(1e-5), loss=model.loss, metrics=['accuracy'])\n"
        "\nor keep the optimizer's state with `introspect.recompile(model, keep_optimizer_state=True)`.",
        evidence=(
            EvidenceStep("the step was compiled here", location=Location("finetune.py", 30, "build")),
            EvidenceStep("trainable was set to True here", location=Location("finetune.py", 41, "unfreeze")),
            EvidenceStep("no op of the step writes the variable", op="one_step_on_data", op_type="PartitionedCall"),
        ),
        verified=True,
        fix_result=FixResult(frozen, (), "traced in 2.1 s"),
        trials=(
            FixTrial(frozen, (), "traced in 2.1 s", "introspect.recompile(model)", True),
            FixTrial(
                head, (), "vgg16 frozen, which mends it", "# or, freeze it:\nmodel.layers[0].trainable = False", True
            ),
            FixTrial(frozen[:1], frozen[1:], "which does not mend it", "model.compile(optimizer=...)", False),
        ),
    )
    variables = [dataclasses.replace(row, findings=("INT103",)) if row.path in frozen else row for row in variables]
    note = Finding(
        rule="INT399",
        name="learning-rate-large",
        severity="info",
        certainty="likely",
        variables=(),
        layers=(),
        message="The learning rate is 0.001, which is large for weights that were trained before.",
        cause="It was chosen while only the head was trained.",
        fix="Lower it by a factor of 10 to 100 when you unfreeze.",
    )
    return make_report(variables, layers, (finding, note))


def make_healthy() -> Report:
    """The same fine-tune with a frozen base, which is what was meant."""
    variables, layers = make_vgg(base_expected=False)
    return make_report(variables, layers)


def make_gan() -> Report:
    """A GAN with two optimizers; the discriminator has BatchNorm and Dropout."""
    layers = [make_layer("generator", None, "Sequential"), make_layer("discriminator", None, "Sequential")]
    variables = []
    for net in ("generator", "discriminator"):
        optimizer = f"{net[0]}_adam"
        for layer in ("dense", "bn"):
            path = f"{net}/{layer}"
            names = ("kernel", "bias") if layer == "dense" else ("gamma", "beta")
            own = [make_variable(f"{path}/{name}", layer=path, optimizer=optimizer) for name in names]
            if layer == "bn":
                stats = ("moving_mean", "moving_variance")
                own += [make_variable(f"{path}/{name}", False, False, path, "statistics") for name in stats]
            layers.append(make_layer(path, net, "Dense", [row.path for row in own]))
            variables += own
    seed = "discriminator/dropout/seed_generator_state"
    layers.append(make_layer("discriminator/dropout", "discriminator", "Dropout", [seed]))
    variables.append(make_variable(seed, False, False, "discriminator/dropout", "state", dtype="uint32"))
    optimizers = tuple(
        OptimizerReport(
            f"{net[0]}_adam", "Adam", 2e-4, tuple(v.path for v in variables if v.optimizer == f"{net[0]}_adam"), True
        )
        for net in ("generator", "discriminator")
    )
    return make_report(variables, layers, optimizers=optimizers, model=make_model("gan", "GAN"))


def make_large(stale: bool = True, blocks: int = 50) -> Report:
    """1 500 variables in 50 blocks of ten layers with three variables each; all but the first 100 layers are stale."""
    layers = [make_layer("encoder", None, "Functional")]
    variables = []
    for block in range(blocks):
        home = f"encoder/block_{block}"
        layers.append(make_layer(home, "encoder", "TransformerBlock"))
        for i in range(10):
            path = f"{home}/dense_{i}"
            idle = stale and block >= 10
            rows = [make_variable(f"{path}/{name}", not idle, True, path) for name in ("kernel", "bias", "scale")]
            layers.append(make_layer(path, home, "Dense", [row.path for row in rows]))
            variables += rows
    idle_paths = tuple(row.path for row in variables if row.updated == "no")
    findings = (
        Finding(
            "INT103",
            "trainable-variable-not-updated",
            "error",
            "proven",
            idle_paths,
            tuple(layer.path for layer in layers[101:]),
            f"{len(idle_paths)} trainable variables are not updated.",
            "The step was compiled before they were made trainable.",
            "Call `model.compile(...)` again.",
        ),
    )
    return make_report(variables, layers, findings if idle_paths else (), model=make_model("encoder_classifier"))


def make_flat() -> Report:
    """1 500 variables of 250 convolutions and 250 BatchNorms on two devices in turn, stale but for the statistics."""
    layers, variables = [make_layer("resnet", None, "Functional")], []
    for i in range(250):
        conv, norm = f"conv_{i}", f"bn_{i}"
        rows = [make_variable(f"{conv}/{name}", False, True, conv) for name in ("kernel", "bias")]
        rows += [make_variable(f"{norm}/{name}", False, True, norm) for name in ("gamma", "beta")]
        rows += [make_variable(f"{norm}/{name}", False, False, norm) for name in ("moving_mean", "moving_variance")]
        rows = [dataclasses.replace(row, device=GPU.replace("GPU:0", f"GPU:{i % 2}")) for row in rows]
        layers += [make_layer(conv, "resnet"), make_layer(norm, "resnet", "BatchNormalization")]
        variables += rows
    layers.append(make_layer("head", None, "Dense"))
    variables += [make_variable(f"head/{name}", layer="head") for name in ("kernel", "bias")]
    paths = tuple(row.path for row in variables if row.expected and row.updated == "no")
    message = "1000 variables of resnet are trainable, and the compiled step does not update them."
    cause, fix = "The step was traced while resnet was frozen.", "Call `model.compile(...)` again."
    finding = Finding(
        "INT103", "trainable-variable-not-updated", "error", "proven", paths, ("resnet",), message, cause, fix
    )
    return make_report(variables, layers, (finding,), model=make_model("resnet_finetune"))


def make_hostile() -> Report:
    """Names and texts that try to act on a terminal, a page, an annotation or a file."""
    bad = "\x1b[31mred\x1b[0m[bold]x[/bold]\x07\r\n::error::pwn"
    page = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    bidi = "ab\u202edc\u2066\u200b\ufeff"
    wide = "\u5c42" * 60
    lone = "sur\ud800rogate"
    paths = [f"{bad}/kernel", f"{page}/kernel", bidi, wide, lone, "a" * 300, "", "%0A::set-output name=x::y"]
    layers = [
        make_layer("root", "loop", "Evil"),
        make_layer("loop", "root", "Evil"),
        dataclasses.replace(make_layer(page, "nowhere", page), name=page),
    ]
    variables = [
        make_variable(path, False, True, ("root", "loop", page, None)[i % 4], reason=bad, dtype=page, device=bidi)
        for i, path in enumerate(paths)
    ]
    finding = Finding(
        rule="INT103",
        name="trainable-variable-not-updated",
        severity="error",
        certainty="proven",
        variables=tuple(paths),
        layers=(page,),
        message=f"{bad} {page}",
        cause=f"{bidi} {wide}",
        fix=f"```python\n{page}\n{bad}\n```\n[link](javascript:alert(1))",
        evidence=(
            EvidenceStep(page, bad, bad, bad, bad, Location(f"{bad},title=x:{page}%.py", 3, page)),
            EvidenceStep("not a number", location=Location("C:\\models\\my file.py", 0)),
        ),
    )
    measured = Measured(float("nan"), float("inf"), -float("inf"), 0.0, False, False, bad)
    variables[0] = dataclasses.replace(variables[0], measured=measured)
    model = make_model(page, bad, file=bad)
    return make_report(variables, layers, (finding,), model=model)


def make_empty() -> Report:
    """A model without variables that was never traced."""
    return make_report((), (), model=make_model("empty"), optimizers=(), traces=(), timings=())


REPORTS = {
    "stale": make_stale,
    "healthy": make_healthy,
    "gan": make_gan,
    "large": make_large,
    "flat": make_flat,
    "hostile": make_hostile,
    "empty": make_empty,
}
