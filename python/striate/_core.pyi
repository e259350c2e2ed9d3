"""
Striate's core: tensors, operations, the tape, optimizer steps and checkpoints.
"""

from __future__ import annotations
import builtins
import collections.abc
import numpy
import typing

__all__: list[str] = [
    "ADAM_SCALARS",
    "ArgumentError",
    "AutogradError",
    "DType",
    "DTypeError",
    "Device",
    "DeviceError",
    "Error",
    "Event",
    "FormatError",
    "Graph",
    "IndexError",
    "OutOfMemoryError",
    "SGD_SCALARS",
    "ShapeError",
    "Tensor",
    "abs",
    "adam_scalars",
    "adam_step",
    "adaptive_avg_pool2d",
    "allow_tf32",
    "arange",
    "argmax",
    "avg_pool2d",
    "batch_norm",
    "bfloat16",
    "bool",
    "build_info",
    "capturing",
    "cat",
    "check_autocast",
    "conv1d",
    "conv2d",
    "conv2d_algorithms",
    "conv2d_fused",
    "conv_transpose2d",
    "cpu_isa",
    "crop_images",
    "cross_entropy",
    "cuda_device_count",
    "cuda_unavailable_reason",
    "device_description",
    "dropout",
    "empty",
    "empty_cache",
    "empty_like",
    "erase_images",
    "exp",
    "flip_images",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "get_num_threads",
    "get_rng_state",
    "int32",
    "int64",
    "is_autocast_enabled",
    "is_grad_enabled",
    "linear",
    "load",
    "local_response_norm",
    "log",
    "log_softmax",
    "manual_seed",
    "matmul",
    "max_pool1d",
    "max_pool2d",
    "measure_peak",
    "memory_stats",
    "mse_loss",
    "nll_loss",
    "normalize_images",
    "ones",
    "ones_like",
    "pad",
    "rand",
    "randn",
    "read_into",
    "relu",
    "replayed_values",
    "resize_images",
    "save",
    "set_allow_tf32",
    "set_autocast_enabled",
    "set_grad_enabled",
    "set_num_threads",
    "set_rng_state",
    "set_winograd_enabled",
    "sgd_scalars",
    "sgd_step",
    "sigmoid",
    "softmax",
    "sqrt",
    "stack",
    "synchronize",
    "tanh",
    "tensor",
    "uint8",
    "winograd_enabled",
    "zeros",
    "zeros_like",
]

class Error(builtins.Exception):
    """Base of every exception that Striate raises on purpose."""

class ArgumentError(Error, builtins.ValueError):
    """A parameter outside its domain."""

class AutogradError(Error, builtins.RuntimeError):
    """A misuse of the tape: a second backward, an edited saved tensor."""

class DTypeError(Error, builtins.TypeError):
    """An element type that the operation does not take."""

class DeviceError(Error, builtins.RuntimeError):
    """A device that is absent, mismatched or lacks the operation."""

class FormatError(Error, builtins.ValueError):
    """A file that is truncated, corrupt or of another format."""

class OutOfMemoryError(Error, builtins.MemoryError):
    """An allocation that the device cannot satisfy."""

class IndexError(Error, builtins.IndexError):
    """A label or index outside its range."""

class ShapeError(ArgumentError):
    """Sizes, ranks or strides that do not fit together."""

class DType:
    """
    The type of a tensor's elements.
    """
    def __reduce__(self) -> str: ...
    def __repr__(self) -> str: ...
    @property
    def is_floating_point(self) -> builtins.bool:
        """
        True for float32, float64 and bfloat16.
        """
    @property
    def itemsize(self) -> int:
        """
        Bytes of one element.
        """
    @property
    def name(self) -> str:
        """
        ``'float32'``, ...
        """

class Device:
    """
    A device: ``Device('cpu')``, ``Device('cuda:1')``.
    """
    def __eq__(self, arg0: typing.Any) -> builtins.bool: ...
    def __hash__(self) -> int: ...
    def __init__(self, name: str) -> None:
        """
        Raises DeviceError on a name that is not a device's.
        """
    def __reduce__(self) -> tuple[type, tuple[str]]: ...
    def __repr__(self) -> str: ...
    def __str__(self) -> str: ...
    @property
    def index(self) -> int:
        """
        Number of the device among those of its type.
        """
    @property
    def type(self) -> str:
        """
        ``'cpu'`` or ``'cuda'``.
        """

class Tensor:
    """
    A strided, typed array on a device, with its place on the tape.

    ``Tensor(other)`` is another handle on the same elements.
    """

    __array_priority__: typing.ClassVar[int] = 1000
    def __abs__(self) -> Tensor: ...
    def __add__(self, arg0: typing.Any) -> Tensor: ...
    def __array__(self, dtype: typing.Any = None, copy: typing.Any = None) -> numpy.ndarray: ...
    def __bool__(self) -> builtins.bool: ...
    def __deepcopy__(self, memo: dict[int, typing.Any]) -> Tensor:
        """
        A leaf tensor on elements of its own, with a copy of its gradient.
        """
    def __dlpack__(
        self,
        *,
        stream: typing.Any = None,
        max_version: typing.Any = None,
        dl_device: typing.Any = None,
        copy: typing.Any = None,
    ) -> typing.Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __eq__(self, arg0: typing.Any) -> Tensor:  # type: ignore[override]
        ...
    def __float__(self) -> builtins.float: ...
    def __format__(self, arg0: str) -> str: ...
    def __ge__(self, arg0: typing.Any) -> Tensor: ...
    def __getitem__(self, index: typing.Any) -> Tensor:
        """
        NumPy's indexing with integers, slices of positive step, None, ``...`` (views), and at most one array of integers or bools (a copy). On the tape. Raises IndexError.
        """
    def __getstate__(self) -> tuple[typing.Any, ...]: ...
    def __gt__(self, arg0: typing.Any) -> Tensor: ...
    def __hash__(self) -> int: ...
    def __iadd__(self, arg0: typing.Any) -> Tensor: ...
    def __imul__(self, arg0: typing.Any) -> Tensor: ...
    def __index__(self) -> int: ...
    def __init__(self, other: Tensor) -> None: ...
    def __int__(self) -> int: ...
    def __isub__(self, arg0: typing.Any) -> Tensor: ...
    def __iter__(self) -> collections.abc.Iterator[Tensor]: ...
    def __itruediv__(self, arg0: typing.Any) -> Tensor: ...
    def __le__(self, arg0: typing.Any) -> Tensor: ...
    def __len__(self) -> int: ...
    def __lt__(self, arg0: typing.Any) -> Tensor: ...
    def __matmul__(self, arg0: Tensor) -> Tensor: ...
    def __mul__(self, arg0: typing.Any) -> Tensor: ...
    def __ne__(self, arg0: typing.Any) -> Tensor:  # type: ignore[override]
        ...
    def __neg__(self) -> Tensor: ...
    def __pos__(self) -> Tensor: ...
    def __pow__(self, arg0: typing.Any) -> Tensor: ...
    def __radd__(self, arg0: typing.Any) -> Tensor: ...
    def __repr__(self) -> str: ...
    def __rmul__(self, arg0: typing.Any) -> Tensor: ...
    def __rpow__(self, arg0: typing.Any) -> Tensor: ...
    def __rsub__(self, arg0: typing.Any) -> Tensor: ...
    def __rtruediv__(self, arg0: typing.Any) -> Tensor: ...
    def __setitem__(self, index: typing.Any, value: typing.Any) -> None:
        """
        Writes a number, tensor or array through the same indices, off the tape.
        """
    def __setstate__(self, arg0: tuple[typing.Any, ...]) -> None: ...
    def __sub__(self, arg0: typing.Any) -> Tensor: ...
    def __truediv__(self, arg0: typing.Any) -> Tensor: ...
    def abs(self) -> Tensor:
        """
        Absolute value of each element.
        """
    def add_(
        self, other: typing.Any, alpha: typing.SupportsFloat | typing.SupportsIndex = 1.0
    ) -> Tensor:
        """
        Adds ``alpha`` times a tensor or number.
        """
    def argmax(
        self,
        dim: typing.SupportsInt | typing.SupportsIndex | None = None,
        keepdim: builtins.bool = False,
    ) -> Tensor:
        """
        Index of the largest element, of the flattened tensor or along ``dim``. Ties and NaN go to the first index.
        """
    def backward(self, grad: Tensor | None = None, retain_graph: builtins.bool = False) -> None:
        """
        Adds the derivative of this tensor to the ``grad`` of every leaf it came from.

        ``grad`` has this tensor's shape and weighs its elements; it may be left out for a single element. What the operations saved is freed unless ``retain_graph``. Raises AutogradError on a second pass or when a saved tensor was edited in place; gradients are then unchanged.
        """
    def clone(self) -> Tensor:
        """
        A copy, on the tape.
        """
    def contiguous(self, channels_last: builtins.bool = False) -> Tensor:
        """
        Dense in row-major (or N, H, W, C) order; itself where it is already.
        """
    def copy_(self, source: typing.Any) -> Tensor:
        """
        Copies a tensor or array into this one, broadcast and converted.
        """
    def cpu(self) -> Tensor:
        """
        In the host's memory.
        """
    def cuda(self, index: typing.SupportsInt | typing.SupportsIndex = 0) -> Tensor:
        """
        On a CUDA device. Raises DeviceError, with the reason, where there is none.
        """
    def data_ptr(self) -> int:
        """
        Address of the first element.
        """
    def detach(self) -> Tensor:
        """
        The same elements, off the tape.
        """
    def dim(self) -> int:
        """
        Number of dimensions.
        """
    def double(self) -> Tensor:
        """
        As float64.
        """
    def element_size(self) -> int:
        """
        Bytes of one element.
        """
    def exp(self) -> Tensor:
        """
        e to the power of each element.
        """
    def expand(self, *args: int | collections.abc.Sequence[int]) -> Tensor:
        """
        A view that repeats dimensions of size 1, without a copy; -1 keeps a size.
        """
    def fill_(self, value: typing.SupportsFloat | typing.SupportsIndex) -> Tensor:
        """
        Sets every element to ``value``.
        """
    def flatten(
        self,
        start_dim: typing.SupportsInt | typing.SupportsIndex = 0,
        end_dim: typing.SupportsInt | typing.SupportsIndex = -1,
    ) -> Tensor:
        """
        Merges the dimensions from ``start_dim`` to ``end_dim``.
        """
    def float(self) -> Tensor:
        """
        As float32.
        """
    def index_select(self, dim: typing.SupportsInt | typing.SupportsIndex, index: Tensor) -> Tensor:
        """
        The rows ``index`` (int64, 1-D) of dimension ``dim``. Raises IndexError.
        """
    def is_contiguous(self, channels_last: builtins.bool = False) -> builtins.bool:
        """
        True if the elements are dense in row-major (or N, H, W, C) order.
        """
    def item(self) -> typing.Any:
        """
        The single element as a Python number. Raises ShapeError otherwise.
        """
    def log(self) -> Tensor:
        """
        Natural logarithm of each element.
        """
    def log_softmax(self, dim: typing.SupportsInt | typing.SupportsIndex) -> Tensor:
        """
        Logarithm of softmax, computed stably.
        """
    def long(self) -> Tensor:
        """
        As int64.
        """
    def matmul(self, other: Tensor) -> Tensor:
        """
        Matrix product, with the shapes of numpy.matmul.
        """
    def max(
        self,
        dim: typing.SupportsInt | typing.SupportsIndex | None = None,
        keepdim: builtins.bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """
        The largest element, or (values, int64 indices) along ``dim``. Ties go to the first index; NaN counts as the largest.
        """
    def mean(
        self, dim: int | collections.abc.Sequence[int] | None = None, keepdim: builtins.bool = False
    ) -> Tensor:
        """
        Mean over one dimension, several, or all. Floating point only.
        """
    def mul_(self, other: typing.Any) -> Tensor:
        """
        Multiplies by a tensor or number.
        """
    def normal_(
        self,
        mean: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        std: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    ) -> Tensor:
        """
        Draws every element from a normal distribution.
        """
    def numel(self) -> int:
        """
        Number of elements.
        """
    def numpy(self) -> numpy.ndarray:
        """
        A NumPy array that shares the elements. Raises AutogradError if the tensor requires grad, DTypeError on bfloat16.
        """
    def permute(self, *args: int | collections.abc.Sequence[int]) -> Tensor:
        """
        A view with the dimensions in another order.
        """
    def relu(self) -> Tensor:
        """
        max(x, 0); NaN stays NaN, the derivative at 0 is 0.
        """
    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """
        Sets requires_grad and returns the tensor. Raises AutogradError on a non-leaf, DTypeError unless floating point.
        """
    def reshape(self, *args: int | collections.abc.Sequence[int]) -> Tensor:
        """
        The same elements in row-major order under another shape; one size may be -1. A view where the strides allow, else a copy. Raises ShapeError when the counts differ.
        """
    def sigmoid(self) -> Tensor:
        """
        1 / (1 + exp(-x)).
        """
    def size(
        self, dim: typing.SupportsInt | typing.SupportsIndex | None = None
    ) -> int | tuple[int, ...]:
        """
        The shape, or the size of one dimension.
        """
    def softmax(self, dim: typing.SupportsInt | typing.SupportsIndex) -> Tensor:
        """
        exp(x) over its sum along ``dim``.
        """
    def sqrt(self) -> Tensor:
        """
        Square root of each element.
        """
    def squeeze(self, dim: typing.SupportsInt | typing.SupportsIndex | None = None) -> Tensor:
        """
        A view without dimension ``dim``, if its size is 1, or without all of size 1.
        """
    def stride(self) -> tuple[int, ...]:
        """
        Steps between neighbours, in elements.
        """
    def sub_(
        self, other: typing.Any, alpha: typing.SupportsFloat | typing.SupportsIndex = 1.0
    ) -> Tensor:
        """
        Subtracts ``alpha`` times a tensor or number.
        """
    def sum(
        self, dim: int | collections.abc.Sequence[int] | None = None, keepdim: builtins.bool = False
    ) -> Tensor:
        """
        Sum over one dimension, several, or all. Integers and bools sum to int64.
        """
    def tanh(self) -> Tensor:
        """
        Hyperbolic tangent of each element.
        """
    def to(
        self,
        *args: Tensor | DType | Device | str,
        dtype: DType | str | None = None,
        device: Device | str | None = None,
    ) -> Tensor:
        """
        This tensor with another element type or device: ``x.to('cuda')``, ``x.to(striate.float64)``, ``x.to(other)``. Returns itself where nothing changes.
        """
    def tolist(self) -> typing.Any:
        """
        The elements as nested lists of Python numbers.
        """
    def transpose(
        self,
        dim0: typing.SupportsInt | typing.SupportsIndex,
        dim1: typing.SupportsInt | typing.SupportsIndex,
    ) -> Tensor:
        """
        A view with two dimensions swapped.
        """
    def uniform_(
        self,
        low: typing.SupportsFloat | typing.SupportsIndex = 0.0,
        high: typing.SupportsFloat | typing.SupportsIndex = 1.0,
    ) -> Tensor:
        """
        Draws every element from the uniform distribution on [low, high).
        """
    def unsqueeze(self, dim: typing.SupportsInt | typing.SupportsIndex) -> Tensor:
        """
        A view with a dimension of size 1 before ``dim``.
        """
    def view(self, *args: int | collections.abc.Sequence[int]) -> Tensor:
        """
        Alias of reshape().
        """
    def zero_(self) -> Tensor:
        """
        Sets every element to 0.
        """
    @property
    def T(self) -> Tensor:
        """
        A view with all dimensions reversed.
        """
    @property
    def __cuda_array_interface__(self) -> dict[str, typing.Any]:
        """
        The elements for Numba, CuPy and others (version 3 of the interface). AttributeError unless the tensor is on CUDA and of a type that NumPy has.
        """
    @property
    def _version(self) -> int:
        """
        Number of in-place edits of the storage so far.
        """
    @property
    def data(self) -> Tensor:
        """
        The elements, off the tape. Assigning replaces the elements, type and device under this object, and forgets its gradient.
        """
    @data.setter
    def data(self, arg1: Tensor) -> None: ...
    @property
    def device(self) -> Device:
        """
        Where the elements are.
        """
    @property
    def dtype(self) -> DType:
        """
        The element type.
        """
    @property
    def grad(self) -> Tensor | None:
        """
        The gradient that backward() accumulated, or None.
        """
    @grad.setter
    def grad(self, arg1: Tensor | None) -> None: ...
    @property
    def is_leaf(self) -> builtins.bool:
        """
        True unless an operation on the tape made this tensor.
        """
    @property
    def mT(self) -> Tensor:
        """
        A view with the last two dimensions swapped.
        """
    @property
    def ndim(self) -> int:
        """
        Number of dimensions.
        """
    @property
    def requires_grad(self) -> builtins.bool:
        """
        Whether backward() computes a gradient for this tensor. Set on leaves only.
        """
    @requires_grad.setter
    def requires_grad(self, arg1: builtins.bool) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """
        The sizes, as a tuple.
        """

class Graph:
    """
    Work captured once and replayed on the same memory. ``striate.graph`` is the comfortable form.
    """
    def __init__(self, device: Device | str) -> None: ...
    def capture(self, function: collections.abc.Callable[[], None]) -> None:
        """
        Calls ``function`` once and keeps the work that it gives to the device, without doing it.
        """
    def check(self) -> None:
        """
        Waits, and raises IndexError if a label was out of range since the last check.
        """
    def replay(self) -> None:
        """
        Does the work. Raises DeviceError before a capture, AutogradError where a weight that the graph has packed was edited since, IndexError on a label out of range.
        """

class Event:
    """
    A point in a device's work. On the CPU, where work is done when a call returns, the time of record().
    """
    def __init__(self, device: Device | str = "cuda") -> None: ...
    def elapsed_time(self, end: Event) -> builtins.float:
        """
        Milliseconds from this event to ``end``; waits for both. Raises ArgumentError unless both were recorded, on one device.
        """
    def record(self) -> None:
        """
        Marks the work given to the device so far.
        """

def abs(input: Tensor) -> Tensor:
    """
    Absolute value of each element.
    """

def adam_scalars(
    step: typing.SupportsInt | typing.SupportsIndex,
    lr: typing.SupportsFloat | typing.SupportsIndex,
    beta1: typing.SupportsFloat | typing.SupportsIndex,
    beta2: typing.SupportsFloat | typing.SupportsIndex,
    eps: typing.SupportsFloat | typing.SupportsIndex,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex,
) -> list[builtins.float]:
    """
    What a captured adam_step() reads at each replay, float64.
    """

def adam_step(
    params: collections.abc.Sequence[Tensor],
    exp_avg: list[Tensor | None],
    exp_avg_sq: list[Tensor | None],
    step: typing.SupportsInt | typing.SupportsIndex,
    lr: typing.SupportsFloat | typing.SupportsIndex,
    beta1: typing.SupportsFloat | typing.SupportsIndex = 0.9,
    beta2: typing.SupportsFloat | typing.SupportsIndex = 0.999,
    eps: typing.SupportsFloat | typing.SupportsIndex = 1e-08,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    decoupled: builtins.bool = False,
    scalars: Tensor | None = None,
) -> None:
    """
    One step of Adam (Kingma and Ba 2015), or with ``decoupled`` of AdamW (Loshchilov and Hutter 2019). ``step`` counts from 1; the lists are as in sgd_step(), ``scalars`` is adam_scalars().
    """

def adaptive_avg_pool2d(input: Tensor, output_size: int | collections.abc.Sequence[int]) -> Tensor:
    """
    Means of windows of input (N, C, H, W) such that the result is (N, C, *output_size): window i covers floor(i H / OH) to ceil((i+1) H / OH).
    """

def allow_tf32() -> builtins.bool:
    """
    Whether float32 on CUDA may use TF32 tensor cores; see config.allow_tf32.
    """

def arange(
    start: typing.Any,
    end: typing.Any = None,
    step: typing.Any = 1,
    dtype: DType | str | None = None,
    device: Device | str = "cpu",
) -> Tensor:
    """
    start, start + step, ... below ``end``; ``arange(n)`` counts from 0. int64 for integers, float32 otherwise.
    """

def argmax(
    input: Tensor,
    dim: typing.SupportsInt | typing.SupportsIndex | None = None,
    keepdim: builtins.bool = False,
) -> Tensor:
    """
    Index of the largest element, of the flattened tensor or along ``dim``.
    """

def avg_pool2d(
    input: Tensor,
    kernel_size: int | collections.abc.Sequence[int],
    stride: int | collections.abc.Sequence[int] | None = None,
    padding: int | collections.abc.Sequence[int] = 0,
    ceil_mode: builtins.bool = False,
    count_include_pad: builtins.bool = True,
) -> Tensor:
    """
    Mean of each window of input (N, C, H, W), stored channels-last. ``stride`` defaults to the kernel; ``count_include_pad`` counts the zeros of the padding.
    """

def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: builtins.bool = False,
    momentum: typing.SupportsFloat | typing.SupportsIndex = 0.1,
    eps: typing.SupportsFloat | typing.SupportsIndex = 1e-05,
    residual: Tensor | None = None,
    relu: builtins.bool = False,
) -> Tensor:
    """
    (x - mean) / sqrt(var + eps) * weight + bias per channel (dimension 1) of input (N, C), (N, C, L) or (N, C, H, W).

    Training uses the batch's mean and biased variance and moves the running statistics (with the unbiased variance) by ``momentum``; it raises ShapeError when a channel has a single value. ``residual``, of the input's shape, is added to the result, and ``relu`` applied, in the same pass over memory. (Ioffe and Szegedy 2015.)
    """

def build_info() -> str:
    """
    Compiler, build type and backends that were compiled in, one 'key: value' a line.
    """

def capturing(device: Device | str) -> builtins.bool:
    """
    Whether this thread is capturing a graph on the device.
    """

def cat(
    tensors: collections.abc.Sequence[Tensor], dim: typing.SupportsInt | typing.SupportsIndex = 0
) -> Tensor:
    """
    Joins tensors along an existing dimension; their other sizes agree.
    """

def check_autocast(dtype: DType | str) -> None:
    """
    Raises DTypeError unless autocast can use the type.
    """

def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: typing.SupportsInt | typing.SupportsIndex = 1,
    padding: typing.SupportsInt | typing.SupportsIndex = 0,
    dilation: typing.SupportsInt | typing.SupportsIndex = 1,
    groups: typing.SupportsInt | typing.SupportsIndex = 1,
) -> Tensor:
    """
    1-D cross-correlation: input (N, C, L), weight (O, C/groups, k), bias (O).

    Result (N, O, (L + 2 padding - dilation (k-1) - 1) // stride + 1). float32 or float64; raises ShapeError where sizes do not fit.
    """

def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | collections.abc.Sequence[int] = 1,
    padding: int | collections.abc.Sequence[int] = 0,
    dilation: int | collections.abc.Sequence[int] = 1,
    groups: typing.SupportsInt | typing.SupportsIndex = 1,
) -> Tensor:
    """
    2-D cross-correlation: input (N, C, H, W), weight (O, C/groups, kh, kw), bias (O).

    Result (N, O, OH, OW) with OH = (H + 2 padding - dilation (kh-1) - 1) // stride + 1, stored channels-last. Sizes are one number or (height, width). Raises ShapeError where sizes do not fit.

    A NaN or infinity in the input reaches the results that read it; on the CPU also others, by Winograd's algorithm (config.winograd) those of the same tile.
    """

def conv2d_algorithms(
    input: Tensor,
    weight: Tensor,
    stride: int | collections.abc.Sequence[int] = 1,
    padding: int | collections.abc.Sequence[int] = 0,
    dilation: int | collections.abc.Sequence[int] = 1,
    groups: typing.SupportsInt | typing.SupportsIndex = 1,
) -> dict[str, str]:
    """
    The algorithms that conv2d takes for operands of these shapes, as in 'direct' or 'winograd4', by pass: 'forward', 'input_grad', 'weight_grad'.
    """

def conv2d_fused(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | collections.abc.Sequence[int] = 1,
    padding: int | collections.abc.Sequence[int] = 0,
    dilation: int | collections.abc.Sequence[int] = 1,
    groups: typing.SupportsInt | typing.SupportsIndex = 1,
    residual: Tensor | None = None,
    relu: builtins.bool = False,
) -> Tensor:
    """
    conv2d, plus residual (of the result's shape), then relu, in one pass over memory.

    For inference: raises ArgumentError where a gradient would have to be recorded.
    """

def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | collections.abc.Sequence[int] = 1,
    padding: int | collections.abc.Sequence[int] = 0,
    output_padding: int | collections.abc.Sequence[int] = 0,
    groups: typing.SupportsInt | typing.SupportsIndex = 1,
    dilation: int | collections.abc.Sequence[int] = 1,
) -> Tensor:
    """
    The adjoint of conv2d: input (N, C, H, W), weight (C, O/groups, kh, kw), bias (O).

    Result (N, O, OH, OW) with OH = (H-1) stride - 2 padding + dilation (kh-1) + output_padding + 1.
    """

def cpu_isa() -> str:
    """
    The instruction set in use: 'avx512', 'avx2' or 'baseline'. ``STRIATE_CPU_ISA`` in the environment forces one.
    """

def crop_images(
    images: Tensor,
    corners: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    size: int | collections.abc.Sequence[int],
    fill: typing.SupportsFloat | typing.SupportsIndex = 0,
) -> Tensor:
    """
    The rectangle of size (height, width) at the corner (top, left) given for each image (N, C, H, W), which fill surrounds.
    """

def cross_entropy(
    input: Tensor,
    target: Tensor,
    *,
    ignore_index: typing.SupportsInt | typing.SupportsIndex = -100,
    reduction: str = "mean",
    label_smoothing: typing.SupportsFloat | typing.SupportsIndex = 0.0,
) -> Tensor:
    """
    nll_loss of log_softmax over dimension 1 of the logits (N, C, ...), fused.

    ``label_smoothing`` in [0, 1] moves that share of the target's weight to the mean over all classes. (Szegedy et al. 2016, section 7.)
    """

def cuda_device_count() -> int:
    """
    CUDA devices that can be used now.
    """

def cuda_unavailable_reason() -> str:
    """
    Why cuda_device_count() is 0; empty when it is not.
    """

def device_description(device: Device | str) -> str:
    """
    What the device is, in words. Raises DeviceError where it is not there.
    """

def dropout(
    input: Tensor,
    p: typing.SupportsFloat | typing.SupportsIndex = 0.5,
    training: builtins.bool = True,
) -> Tensor:
    """
    While training, zeroes each element with probability p and scales the rest by 1/(1-p). Raises ArgumentError unless 0 <= p <= 1. (Srivastava et al. 2014.)
    """

def empty(
    *args: int | collections.abc.Sequence[int],
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    A tensor whose elements are not initialised.
    """

def empty_cache(device: Device | str) -> None:
    """
    Returns the memory that the device's allocator caches to the system.
    """

def empty_like(input: Tensor) -> Tensor:
    """
    Not initialised, with the shape, type, device and order of ``input``.
    """

def erase_images(
    images: Tensor,
    corners: collections.abc.Sequence[
        tuple[typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex]
    ],
    size: int | collections.abc.Sequence[int],
) -> Tensor:
    """
    Images (N, C, H, W) with zeros in the rectangle of size (height, width) at the corner (top, left) given for each.
    """

def exp(input: Tensor) -> Tensor:
    """
    e to the power of each element.
    """

def flip_images(images: Tensor, mirrored: collections.abc.Sequence[builtins.bool]) -> Tensor:
    """
    Images (N, C, H, W), left and right exchanged where mirrored is true.
    """

def from_dlpack(source: typing.Any) -> Tensor:
    """
    A tensor that shares the elements of any object with ``__dlpack__`` (PyTorch, NumPy, JAX, ...) on the CPU or a CUDA device; a copy if they are read-only. Raises BufferError on another device, an unknown type or a capsule that was consumed before.
    """

def from_numpy(array: numpy.ndarray) -> Tensor:
    """
    A tensor that shares the elements of an array; a copy where they cannot be shared (read-only, misaligned, or with negative strides).
    """

def full(
    size: int | collections.abc.Sequence[int],
    fill_value: typing.SupportsFloat | typing.SupportsIndex,
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    A tensor whose elements all equal ``fill_value``.
    """

def get_num_threads() -> int:
    """
    Threads that CPU operations use, the caller included. Results do not depend on it.
    """

def get_rng_state() -> tuple[int, int]:
    """
    The default generator's state: (seed, offset).
    """

def is_autocast_enabled() -> builtins.bool:
    """
    Whether operations on this thread convert their operands; see autocast.
    """

def is_grad_enabled() -> builtins.bool:
    """
    Whether operations on this thread are recorded.
    """

def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """
    input (..., in) times the transpose of weight (out, in), plus bias (out).
    """

def load(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """
    The tensors and texts of a safetensors file, by name.
    """

def local_response_norm(
    input: Tensor,
    size: typing.SupportsInt | typing.SupportsIndex,
    alpha: typing.SupportsFloat | typing.SupportsIndex = 0.0001,
    beta: typing.SupportsFloat | typing.SupportsIndex = 0.75,
    k: typing.SupportsFloat | typing.SupportsIndex = 1.0,
) -> Tensor:
    """
    x / (k + alpha / size * sum of x^2 over ``size`` neighbouring channels)^beta. (Krizhevsky et al. 2012, section 3.3.)
    """

def log(input: Tensor) -> Tensor:
    """
    Natural logarithm of each element.
    """

def log_softmax(input: Tensor, dim: typing.SupportsInt | typing.SupportsIndex) -> Tensor:
    """
    Logarithm of softmax along ``dim``, computed stably.
    """

def manual_seed(seed: int) -> None:
    """
    Seeds the default generator (Philox4x32-10); the same seed gives the same numbers on every device. Raises ArgumentError unless 0 <= seed < 2^64.
    """

def matmul(input: Tensor, other: Tensor) -> Tensor:
    """
    Matrix product, with the shapes of numpy.matmul.
    """

def max_pool1d(
    input: Tensor,
    kernel_size: typing.SupportsInt | typing.SupportsIndex,
    stride: typing.SupportsInt | typing.SupportsIndex | None = None,
    padding: typing.SupportsInt | typing.SupportsIndex = 0,
    dilation: typing.SupportsInt | typing.SupportsIndex = 1,
    ceil_mode: builtins.bool = False,
    relu: builtins.bool = False,
) -> Tensor:
    """
    Largest element of each window of input (N, C, L), or of relu(input). ``stride`` defaults to the kernel.
    """

def max_pool2d(
    input: Tensor,
    kernel_size: int | collections.abc.Sequence[int],
    stride: int | collections.abc.Sequence[int] | None = None,
    padding: int | collections.abc.Sequence[int] = 0,
    dilation: int | collections.abc.Sequence[int] = 1,
    ceil_mode: builtins.bool = False,
    relu: builtins.bool = False,
) -> Tensor:
    """
    Largest element of each window of input (N, C, H, W), stored channels-last.

    ``stride`` defaults to the kernel. NaN propagates, ties go to the first element, the padding is minus infinity. With ``relu`` the result and the gradient are those of ``max_pool2d(relu(input), ...)``, in one pass. Raises ShapeError if padding > kernel / 2.
    """

def measure_peak(peak: str, seconds: typing.SupportsFloat | typing.SupportsIndex) -> builtins.float:
    """
    What the CPU's threads reach together: float operations per second in registers ('multiply_add', which counts as two), bytes per second of memory that is only read ('read') or of a = b + s * c ('triad').
    """

def memory_stats(device: Device | str = "cpu") -> dict[str, int]:
    """
    Bytes in tensors now, held from the system, and in tensors at the peak.
    """

def mse_loss(input: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """
    Squared difference of two tensors of one shape.
    """

def nll_loss(
    input: Tensor,
    target: Tensor,
    *,
    ignore_index: typing.SupportsInt | typing.SupportsIndex = -100,
    reduction: str = "mean",
) -> Tensor:
    """
    Negative log-probability of the targets: log-probabilities (N, C, ...), int64 targets (N, ...).

    ``reduction`` is 'mean' (over targets other than ``ignore_index``), 'sum' or 'none'. Raises IndexError on a target outside [0, C), before any read.
    """

def normalize_images(
    images: Tensor,
    mean: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex],
    std: collections.abc.Sequence[typing.SupportsFloat | typing.SupportsIndex],
    unit: typing.SupportsFloat | typing.SupportsIndex = 1,
) -> Tensor:
    """
    (x * unit - mean) / std of uint8 or float32 images (N, C, H, W), per channel, as float32.
    """

def ones(
    *args: int | collections.abc.Sequence[int],
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    A tensor of ones.
    """

def ones_like(input: Tensor) -> Tensor:
    """
    Ones with the shape, type, device and order of ``input``.
    """

def pad(
    input: Tensor,
    pad: int | collections.abc.Sequence[int],
    mode: str = "constant",
    value: typing.SupportsFloat | typing.SupportsIndex = 0.0,
) -> Tensor:
    """
    Surrounds ``input`` with ``value``: ``pad`` holds (before, after) pairs from the last dimension backwards, e.g. (left, right, top, bottom).
    """

def rand(
    *args: int | collections.abc.Sequence[int],
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    Uniform in [0, 1), from the default generator.
    """

def randn(
    *args: int | collections.abc.Sequence[int],
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    Standard normal, from the default generator.
    """

def read_into(
    target: Tensor,
    file: typing.SupportsInt | typing.SupportsIndex,
    offset: typing.SupportsInt | typing.SupportsIndex,
) -> int:
    """
    Fills a contiguous tensor with the bytes of an open file (its descriptor) from an offset on, and returns their CRC-32.

    Raises FormatError if the file ends before.
    """

def relu(input: Tensor) -> Tensor:
    """
    max(x, 0) of each element. NaN stays NaN; the derivative at 0 is 0.
    """

def replayed_values(
    device: Device | str,
    count: typing.SupportsInt | typing.SupportsIndex,
    values: collections.abc.Callable[[], list[builtins.float]],
) -> Tensor:
    """
    A float64 tensor that is set to ``values()`` before each replay of the graph that this thread captures on the device.
    """

def resize_images(
    images: Tensor,
    region: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
    size: int | collections.abc.Sequence[int],
    window: tuple[
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
        typing.SupportsInt | typing.SupportsIndex,
    ],
) -> Tensor:
    """
    The region (top, left, height, width) of images (N, C, H, W), scaled to size (height, width), of which the window (top, left, height, width) is returned.

    Bilinear; uint8 with antialiasing, as Pillow does it, float32 without. Raises ShapeError where a rectangle does not fit.
    """

def save(
    tensors: collections.abc.Mapping[str, Tensor],
    path: str,
    metadata: collections.abc.Mapping[str, str],
) -> None:
    """
    Writes tensors and texts by name as a safetensors file.
    """

def set_allow_tf32(allowed: builtins.bool) -> None:
    """
    Allows or forbids TF32 from the next call on.
    """

def set_autocast_enabled(enabled: builtins.bool) -> None:
    """
    Turns autocast on this thread on or off.
    """

def set_grad_enabled(enabled: builtins.bool) -> None:
    """
    Turns the recording of operations on this thread on or off.
    """

def set_num_threads(count: typing.SupportsInt | typing.SupportsIndex) -> None:
    """
    Sets the number of threads. Raises ArgumentError unless 1 <= count <= 1024.
    """

def set_rng_state(
    state: tuple[
        typing.SupportsInt | typing.SupportsIndex, typing.SupportsInt | typing.SupportsIndex
    ],
) -> None:
    """
    Restores what get_rng_state() returned.
    """

def set_winograd_enabled(enabled: builtins.bool) -> None:
    """
    Allows or forbids Winograd's algorithm from the next call on.
    """

def sgd_scalars(
    lr: typing.SupportsFloat | typing.SupportsIndex,
    momentum: typing.SupportsFloat | typing.SupportsIndex,
    dampening: typing.SupportsFloat | typing.SupportsIndex,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex,
) -> list[builtins.float]:
    """
    What a captured sgd_step() reads at each replay, float64.
    """

def sgd_step(
    params: collections.abc.Sequence[Tensor],
    momentum_buffers: list[Tensor | None],
    lr: typing.SupportsFloat | typing.SupportsIndex,
    momentum: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    dampening: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    weight_decay: typing.SupportsFloat | typing.SupportsIndex = 0.0,
    nesterov: builtins.bool = False,
    scalars: Tensor | None = None,
) -> None:
    """
    One step of SGD on all parameters that have a gradient, as in PyTorch.

    ``momentum_buffers`` has an entry per parameter (None before its first step; empty without momentum) and receives the buffers made. Raises ArgumentError on a value outside its domain, before any change.

    While a graph is captured, ``scalars`` is where each replay finds sgd_scalars().
    """

def sigmoid(input: Tensor) -> Tensor:
    """
    1 / (1 + exp(-x)) of each element.
    """

def softmax(input: Tensor, dim: typing.SupportsInt | typing.SupportsIndex) -> Tensor:
    """
    exp(x) over its sum along ``dim``.
    """

def sqrt(input: Tensor) -> Tensor:
    """
    Square root of each element.
    """

def stack(
    tensors: collections.abc.Sequence[Tensor], dim: typing.SupportsInt | typing.SupportsIndex = 0
) -> Tensor:
    """
    Joins tensors of one shape along a new dimension.
    """

def synchronize(device: Device | str) -> None:
    """
    Waits until all work queued on the device is done.
    """

def tanh(input: Tensor) -> Tensor:
    """
    Hyperbolic tangent of each element.
    """

def tensor(
    data: typing.Any,
    dtype: DType | str | None = None,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    A new tensor with the elements of a NumPy array, number, nested list or tensor.

    Arrays keep their type and may have any strides; Python floats become float32, integers int64. Raises DTypeError on an object or big-endian array.
    """

def winograd_enabled() -> builtins.bool:
    """
    Whether 3 x 3 and 5 x 5 convolutions may use Winograd's algorithm; see config.winograd.
    """

def zeros(
    *args: int | collections.abc.Sequence[int],
    dtype: DType | str = ...,
    device: Device | str = "cpu",
    requires_grad: builtins.bool = False,
) -> Tensor:
    """
    A tensor of zeros: ``zeros(2, 3)`` or ``zeros((2, 3))``.
    """

def zeros_like(input: Tensor) -> Tensor:
    """
    Zeros with the shape, type, device and memory order of ``input``.
    """

ADAM_SCALARS: int = 7
SGD_SCALARS: int = 4
__version__: str = "0.1.0"
bfloat16: DType
bool: DType
float32: DType
float64: DType
int32: DType
int64: DType
uint8: DType
