"""Calibration and evaluation data: arrays, image folders, descriptors and iterators, streamed sample by sample."""

from edgekit.data.samples import Samples, open_samples

__all__ = ["Samples", "open_samples"]
