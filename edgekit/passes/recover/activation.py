"""A value inside the network while it runs, in ONNX's layout or with the channels last, as it is asked for."""

from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]
Tensor = Any


class Activation:
    """One ONNX value of many samples at once.

    ``shape`` is that of one sample, as in the graph. ``plain`` is [samples, *shape]; ``channels_last`` is
    [samples * shape[0], *shape[2:], shape[1]], what TensorFlow's CPU kernels want. Each is made of the other when first
    asked for. What does not depend on the samples has one sample and is not ``batched``.
    """

    __slots__ = ("_last", "_plain", "_tf", "batched", "shape")

    def __init__(
        self,
        tf: Any,
        shape: Sequence[int],
        *,
        plain: Tensor | None = None,
        channels_last: Tensor | None = None,
        batched: bool = True,
    ) -> None:
        self._tf, self.shape, self.batched = tf, tuple(shape), batched
        self._plain, self._last = plain, channels_last

    @property
    def plain(self) -> Tensor:
        """[samples, *shape]."""
        if self._plain is None:
            rank = len(self.shape)
            moved = self._tf.transpose(self._last, [0, rank - 1, *range(1, rank - 1)])
            self._plain = self._tf.reshape(moved, [-1, *self.shape])
        return self._plain

    @property
    def channels_last(self) -> Tensor:
        """[samples * batch, *spatial, channels]."""
        if self._last is None:
            rank = len(self.shape)
            joined = self._tf.reshape(self._plain, [-1, *self.shape[1:]])
            self._last = self._tf.transpose(joined, [0, *range(2, rank), 1])
        return self._last

    @property
    def is_last(self) -> bool:
        """Whether the channels are last already."""
        return self._last is not None

    @property
    def native(self) -> Tensor:
        """The tensor in the layout that it is in."""
        return self._last if self._last is not None else self._plain

    def like(self, tensor: Tensor) -> "Activation":
        """Another value of the same shape whose tensor is in this one's native layout."""
        if self.is_last:
            return Activation(self._tf, self.shape, channels_last=tensor, batched=self.batched)
        return Activation(self._tf, self.shape, plain=tensor, batched=self.batched)
