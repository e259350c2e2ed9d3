"""Naive references in NumPy, float64 unless told otherwise: plain sums over kernel taps.

They share nothing with the library but the definitions, and are exact on small integers.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[int, int]


def pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def conv_size(size: int, k: int, stride: int, pad: int, dilation: int) -> int:
    return (size + 2 * pad - dilation * (k - 1) - 1) // stride + 1


def _taps(kh, kw, oh, ow, stride, dilation):
    """(i, j, rows, columns): where tap (i, j) of every output lies in the padded input."""
    for i, j in product(range(kh), range(kw)):
        top, left = i * dilation[0], j * dilation[1]
        yield (
            i,
            j,
            slice(top, top + (oh - 1) * stride[0] + 1, stride[0]),
            slice(left, left + (ow - 1) * stride[1] + 1, stride[1]),
        )


def _grouped(x: Array, groups: int) -> Array:
    """(a, g*c, ...) as (a, g, c, ...)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1) -> Array:
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    x, w = np.asarray(x, np.float64), np.asarray(w, np.float64)
    n, _, h, width = x.shape
    o, _, kh, kw = w.shape
    oh = conv_size(h, kh, stride[0], padding[0], dilation[0])
    ow = conv_size(width, kw, stride[1], padding[1], dilation[1])
    xp = _grouped(np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))), groups)
    wg = w.reshape(groups, o // groups, *w.shape[1:])
    y = np.zeros((n, groups, o // groups, oh, ow))
    for i, j, rows, columns in _taps(kh, kw, oh, ow, stride, dilation):
        y += np.einsum("ngchw,goc->ngohw", xp[..., rows, columns], wg[..., i, j], optimize=True)
    y = y.reshape(n, o, oh, ow)
    return y if b is None else y + np.asarray(b, np.float64)[:, None, None]


def conv2d_input_grad(gy, w, x_shape, stride=1, padding=0, dilation=1, groups=1) -> Array:
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    gy, w = np.asarray(gy, np.float64), np.asarray(w, np.float64)
    n, c, h, width = x_shape
    o, _, kh, kw = w.shape
    gg = _grouped(gy, groups)
    wg = w.reshape(groups, o // groups, *w.shape[1:])
    gx = np.zeros((n, groups, c // groups, h + 2 * padding[0], width + 2 * padding[1]))
    for i, j, rows, columns in _taps(kh, kw, *gy.shape[2:], stride, dilation):
        gx[..., rows, columns] += np.einsum("ngohw,goc->ngchw", gg, wg[..., i, j], optimize=True)
    gx = gx.reshape(n, c, *gx.shape[3:])
    return gx[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + width]


def conv2d_weight_grad(gy, x, w_shape, stride=1, padding=0, dilation=1, groups=1) -> Array:
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    gy, x = np.asarray(gy, np.float64), np.asarray(x, np.float64)
    o, cg, kh, kw = w_shape
    xp = _grouped(np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding))), groups)
    gg = _grouped(gy, groups)
    gw = np.zeros((groups, o // groups, cg, kh, kw))
    for i, j, rows, columns in _taps(kh, kw, *gy.shape[2:], stride, dilation):
        gw[..., i, j] = np.einsum("ngohw,ngchw->goc", gg, xp[..., rows, columns], optimize=True)
    return gw.reshape(w_shape)


def conv_transpose2d(
    x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
) -> Array:
    """The adjoint of conv2d; w is (in, out/groups, kh, kw)."""
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    extra = pair(output_padding)
    n, _, *size = x.shape
    out = [
        (size[d] - 1) * stride[d]
        - 2 * padding[d]
        + dilation[d] * (w.shape[2 + d] - 1)
        + extra[d]
        + 1
        for d in range(2)
    ]
    shape = (n, w.shape[1] * groups, *out)
    y = conv2d_input_grad(x, w, shape, stride, padding, dilation, groups)
    return y if b is None else y + np.asarray(b, np.float64)[:, None, None]


def pool_size(size: int, k: int, stride: int, pad: int, dilation: int, ceil_mode: bool) -> int:
    span = size + 2 * pad - dilation * (k - 1) - 1
    out = (-(-span // stride) if ceil_mode else span // stride) + 1
    # The last window must start inside the input or its left padding.
    return out - 1 if ceil_mode and (out - 1) * stride >= size + pad else out


def _windows(size, k, stride, pad, dilation, ceil_mode):
    """For each output: the positions of its window inside the input, and its padded length."""
    for o in range(pool_size(size, k, stride, pad, dilation, ceil_mode)):
        start = o * stride - pad
        positions = [p for p in range(start, start + k * dilation, dilation) if 0 <= p < size]
        yield positions, min(start + k, size + pad) - start


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(values, h * W + w of the first maximum of each window)."""
    k, p, d = pair(kernel_size), pair(padding), pair(dilation)
    s = k if stride is None else pair(stride)
    rows = list(_windows(x.shape[2], k[0], s[0], p[0], d[0], ceil_mode))
    columns = list(_windows(x.shape[3], k[1], s[1], p[1], d[1], ceil_mode))
    y = np.empty((*x.shape[:2], len(rows), len(columns)), x.dtype)
    where = np.empty(y.shape, np.int64)
    for (r, (hs, _)), (c, (ws, _)) in product(enumerate(rows), enumerate(columns)):
        window = x[:, :, hs][:, :, :, ws].reshape(*x.shape[:2], -1)
        first = window.argmax(-1)  # NumPy: the first NaN, else the first maximum
        y[:, :, r, c] = np.take_along_axis(window, first[..., None], -1)[..., 0]
        where[:, :, r, c] = np.array([h * x.shape[3] + w for h in hs for w in ws])[first]
    return y, where


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
) -> Array:
    k, p = pair(kernel_size), pair(padding)
    s = k if stride is None else pair(stride)
    rows = list(_windows(x.shape[2], k[0], s[0], p[0], 1, ceil_mode))
    columns = list(_windows(x.shape[3], k[1], s[1], p[1], 1, ceil_mode))
    y = np.empty((*x.shape[:2], len(rows), len(columns)))
    for (r, (hs, hl)), (c, (ws, wl)) in product(enumerate(rows), enumerate(columns)):
        total = x[:, :, hs][:, :, :, ws].astype(np.float64).sum((2, 3))
        y[:, :, r, c] = total / (hl * wl if count_include_pad else len(hs) * len(ws))
    return y


def adaptive_avg_pool2d(x, output_size) -> Array:
    oh, ow = pair(output_size)
    h, w = x.shape[2:]
    y = np.empty((*x.shape[:2], oh, ow))
    for r, c in product(range(oh), range(ow)):
        window = x[:, :, r * h // oh : -(-(r + 1) * h // oh), c * w // ow : -(-(c + 1) * w // ow)]
        y[:, :, r, c] = window.astype(np.float64).mean((2, 3))
    return y


def batch_norm(x, weight, bias, eps=1e-5):
    """(y, mean, biased variance, unbiased variance) with statistics over all but dimension 1."""
    axes = tuple(a for a in range(x.ndim) if a != 1)
    column = (1, -1) + (1,) * (x.ndim - 2)
    x = np.asarray(x, np.float64)
    mean, var = x.mean(axes), x.var(axes)
    count = x.size // x.shape[1]
    y = (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + eps)
    y = y * np.reshape(weight, column) + np.reshape(bias, column)
    return y, mean, var, var * count / (count - 1)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0) -> Array:
    x = np.asarray(x, np.float64)
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] * (k + alpha / size * (window**2).sum(1)) ** -beta
    return y


def log_softmax(x, axis) -> Array:
    x = np.asarray(x, np.float64)
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def cross_entropy(logits, target, ignore_index=-100, label_smoothing=0.0) -> float:
    """Mean over the targets that are not ignored; logits (N, C, ...)."""
    logp = np.moveaxis(log_softmax(logits, 1), 1, -1).reshape(-1, logits.shape[1])
    labels = np.asarray(target).reshape(-1)
    kept = labels != ignore_index
    logp, labels = logp[kept], labels[kept]
    hard = -np.take_along_axis(logp, labels[:, None], 1)[:, 0]
    return float(((1 - label_smoothing) * hard - label_smoothing * logp.mean(1)).mean())
