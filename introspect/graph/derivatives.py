"""What the gradient of an op is made of, beside the gradient that comes to it."""

from __future__ import annotations

READ_OTHERS = frozenset(
    [
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Conv2D",
        "Conv3D",
        "DepthwiseConv2dNative",
        "Div",
        "DivNoNan",
        "Einsum",
        "MatMul",
        "Mul",
        "RealDiv",
    ]
)
"""Products: the gradient for one input reads the others (TensorFlow 2.21: math_grad.py, nn_grad.py, linalg_grad.py)."""

READ_ITSELF = frozenset(
    [
        "Abs",
        "ClipByValue",
        "Elu",
        "Exp",
        "Expm1",
        "L2Loss",
        "LeakyRelu",
        "Log",
        "Log1p",
        "LogSoftmax",
        "Max",
        "MaxPool",
        "Maximum",
        "Min",
        "Minimum",
        "Pow",
        "Reciprocal",
        "Relu",
        "Relu6",
        "Rsqrt",
        "Selu",
        "Sigmoid",
        "Softmax",
        "SoftmaxCrossEntropyWithLogits",
        "Softplus",
        "Softsign",
        "SparseSoftmaxCrossEntropyWithLogits",
        "Sqrt",
        "Square",
        "SquaredDifference",
        "Tanh",
    ]
)
"""Ops whose gradient reads what went into the op or what it yields (the same files)."""
