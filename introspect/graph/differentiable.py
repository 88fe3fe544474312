"""Op types through which TensorFlow's tape carries a gradient.

Those that have a gradient function registered that does not always return None (TensorFlow 2.21's registry), and the
program's own joins. An op that is not here stops a gradient.
"""

from __future__ import annotations

from typing import Any

DIFFERENTIABLE = frozenset(
    """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AllToAll Angle ApproxTopK Asin Asinh Atan Atan2 Atanh AvgPool
    AvgPool3D AvgPool3DGrad AvgPoolGrad BandedTriangularSolve BatchMatMul BatchMatMulV2 BatchMatMulV3
    BatchNormWithGlobalNormalization BatchToSpace BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0
    BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc BiasAdd BiasAddGrad BiasAddV1 BlockLSTM
    BlockLSTMV2 BroadcastTo CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor CTCLoss CTCLossV2 Case Cast
    CheckNumerics CheckNumericsV2 Cholesky ClipByValue CollectivePermute CollectiveReduceV2 CollectiveReduceV3
    Complex ComplexAbs CompositeTensorVariantFromComponents CompositeTensorVariantToComponents Concat ConcatV2 Conj
    ConjugateTranspose Conv2D Conv2DBackpropFilter Conv2DBackpropInput Conv3D Conv3DBackpropFilterV2
    Conv3DBackpropInputV2 CopyToMesh CopyToMeshGrad Cos Cosh CropAndResize Cross CrossReplicaSum CudnnRNN CudnnRNNV2
    CudnnRNNV3 Cumprod Cumsum CumulativeLogsumexp Dawsn DebugGradientIdentity DebugGradientRefIdentity
    DebugIdentityV2 DenseToCSRSparseMatrix DepthToSpace DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter
    DepthwiseConv2dNativeBackpropInput Diag DiagPart Digamma Dilation2D Div DivNoNan DynamicPartition DynamicStitch
    EagerPyFunc Eig Einsum Elu EluGrad EnsureShape Enter Erf Erfc Erfinv EuclideanNorm Exit Exp ExpandDims Expint
    Expm1 ExtractImagePatches ExtractVolumePatches FFT FFT2D FFT3D FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel Fill FloorMod FractionalAvgPool FractionalMaxPool FresnelCos FresnelSin
    FusedBatchNorm FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 FusedBatchNormV2 FusedBatchNormV3
    Gather GatherNd GatherV2 IFFT IFFT2D IFFT3D IRFFT IRFFT2D Identity IdentityN If Igamma Igammac Imag
    ImageProjectiveTransformV2 ImageProjectiveTransformV3 Inv InvGrad IsotonicRegression L2Loss LRN LeakyRelu
    LeakyReluGrad Lgamma Log Log1p LogMatrixDeterminant LogSoftmax MatMul MatrixBandPart MatrixDeterminant
    MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixInverse
    MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve
    Max MaxPool MaxPool3D MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradV2 MaxPoolV2
    MaxPoolWithArgmax Maximum Mean Merge Min Minimum MirrorPad MirrorPadGrad Mul MulNoNan NcclAllReduce
    NcclBroadcast NcclReduce Ndtri Neg NextAfter NextIteration NthElement OptionalFromValue OptionalGetValue Pack
    Pad PadV2 ParallelDynamicStitch PartitionedCall PlaceholderWithDefault Polygamma Pow PreventGradient Print Prod
    Qr QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
    QuantizeAndDequantizeV4Grad RFFT RFFT2D RGBToHSV RaggedFillEmptyRows RaggedGather RaggedTensorFromVariant
    RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant RandomGamma ReadVariableOp Real RealDiv
    Reciprocal ReciprocalGrad RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSwitch Relayout RelayoutLike
    Relu Relu6 Relu6Grad ReluGrad Reshape ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather
    ResourceGatherNd Reverse ReverseSequence ReverseV2 Roll Rsqrt RsqrtGrad ScaleAndTranslate ScatterNd
    ScatterNdNonAliasingAdd SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select SelectV2
    SelfAdjointEigV2 Selu SeluGrad Sigmoid SigmoidGrad Sign Sin Sinh Slice Softmax SoftmaxCrossEntropyWithLogits
    Softplus SoftplusGrad Softsign SpaceToBatch SpaceToBatchND SpaceToDepth SparseAdd SparseDenseCwiseAdd
    SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseMatMul SparseMatrixAdd SparseMatrixMatMul
    SparseMatrixMul SparseMatrixSoftmax SparseMatrixSparseMatMul SparseMatrixTranspose SparseReduceSum SparseReorder
    SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
    SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax SparseSoftmaxCrossEntropyWithLogits
    SparseSparseMaximum SparseSparseMinimum SparseTensorDenseAdd SparseTensorDenseMatMul
    SparseTensorToCSRSparseMatrix SparseToDense Spence Split SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze
    StatefulPartitionedCall StatelessCase StatelessIf StatelessParameterizedTruncatedNormal StatelessRandomGammaV2
    StatelessRandomGammaV3 StatelessWhile StridedSlice StridedSliceGrad Sub Sum Svd Switch TPUEmbeddingActivations
    Tan Tanh TanhGrad TensorArrayConcat TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGather
    TensorArrayGatherV2 TensorArrayGatherV3 TensorArrayRead TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatter
    TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySplit TensorArraySplitV2 TensorArraySplitV3
    TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3 TensorListConcat TensorListConcatV2 TensorListFromTensor
    TensorListGather TensorListGetItem TensorListPopBack TensorListPushBack TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
    TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate
    Tile TopK TopKV2 Transpose TridiagonalMatMul TridiagonalSolve Unpack UnsortedSegmentMax UnsortedSegmentMin
    UnsortedSegmentProd UnsortedSegmentSum While Xdivy XlaClusterOutput XlaEinsum XlaSharding
    XlaSpmdFullToShardShape XlaSpmdShardToFullShape Xlog1py Xlogy Zeta _EagerConst _Merge
    """.split()
)

NO_VALUE = frozenset(
    {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "VariableShape", "BroadcastGradientArgs", "Assert"}
    | {"TensorListLength", "TensorListElementShape", "VarIsInitializedOp", "NoOp", "CheckNumerics"}
)
"""Ops whose result does not hold the value of their input."""

_COUNTS = frozenset(
    "ArgMax ArgMin Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot IsNan IsInf "
    "IsFinite Bucketize Where InTopKV2 ApproximateEqual All Any Multinomial StatelessMultinomial Bincount "
    "DenseBincount NonMaxSuppressionV3 NonMaxSuppressionV4 InvertPermutation".split()
)


def is_discrete(op_type: str, attributes: Any) -> bool:
    """Whether an op yields integers, booleans or strings, which carry no gradient.

    `attributes` is the NodeDef's map; types are those of types.proto (float 1, double 2, complex 8 and 18,
    bfloat16 14, half 19, float8 from 24 on; resource 20 and variant 21 may hold anything).
    """
    if op_type in _COUNTS:
        return True
    for name in ("DstT", "Tparams", "dtype", "T"):
        if name in attributes:
            return attributes[name].type not in _FLOATS
    return False


_FLOATS = frozenset({0, 1, 2, 8, 14, 18, 19, 20, 21, 24, 25, 26, 27, 28})
