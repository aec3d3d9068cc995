"""Torch-Pruning (PyPI torch-pruning) on EfficientNet-Lite1, as it is and with BatchNorm re-estimated.

Needs `pip install -e '.[images]' torch torch-pruning`; then python benchmarks/pruning_peer.py [--shares 0.1 0.2 0.3]

The network is read from its ONNX file, where the BatchNorms are folded. For the re-estimation each convolution gets one
back, with the statistics of the calibration images and scale and shift that undo it, so that nothing changes before
channels are removed. Channels are chosen by L2 norms of their groups, and the same share of each group goes, down to
single channels (edgekit keeps multiples of eight).
"""

import copy
import itertools
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import datasets
import measurement
import numpy as np
import onnx_ir as ir
import torch
import torch_pruning
from torch import nn

from edgekit.graph.queries import attribute, constant_value
from edgekit.importers import import_model
from edgekit.passes.canonicalize import canonicalize

BATCH = 21
STEPS = 256
"""Of the pruning ratio."""


class Network(nn.Module):
    """The canonical graph of EfficientNet-Lite1, node by node."""

    def __init__(self, model: ir.Model) -> None:
        super().__init__()
        self._input, self._output = model.graph.inputs[0].name, model.graph.outputs[0].name
        self.layers = nn.ModuleList(_layer(node) for node in model.graph)
        # Names alone: the graph cannot be copied with the module.
        self._reads = [[value.name for value in node.inputs if not value.is_initializer()] for node in model.graph]
        self._writes = [node.outputs[0].name for node in model.graph]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        values = {self._input: images}
        for read, write, layer in zip(self._reads, self._writes, self.layers, strict=True):
            given = [values[name] for name in read]
            values[write] = layer(sum(given[1:], start=given[0]))
        return values[self._output]

    def convolutions(self) -> Iterator[nn.Conv2d]:
        """In the graph's order."""
        return (module for module in self.modules() if isinstance(module, nn.Conv2d))

    def hidden(self) -> set[nn.Module]:
        """The layers between a block's expansion and its projection: that expand, and the depthwise ones."""
        pairs = itertools.pairwise(self.convolutions())
        return {each for pair in pairs if pair[1].groups > 1 and pair[0].kernel_size == (1, 1) for each in pair}


def _layer(node: ir.Node) -> nn.Module:
    match node.op_type:
        case "Conv":
            return _convolution(node)
        case "Gemm":
            weight, bias = (torch.tensor(constant_value(value)) for value in node.inputs[1:])
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            layer.weight.data, layer.bias.data = weight if attribute(node, "transB") else weight.T, bias
            return layer
        case "Clip":
            return nn.ReLU6()
        case "GlobalAveragePool":
            return nn.AdaptiveAvgPool2d(1)
        case "Reshape":
            return nn.Flatten()
        case "Add":
            return nn.Identity()
    raise NotImplementedError(node.op_type)


def _convolution(node: ir.Node) -> nn.Module:
    weight, bias = (torch.tensor(constant_value(value)) for value in node.inputs[1:])
    groups, (top, left, bottom, right) = attribute(node, "group"), attribute(node, "pads")
    layer = nn.Conv2d(
        weight.shape[1] * groups, len(weight), weight.shape[2:], stride=attribute(node, "strides"), groups=groups
    )
    layer.weight.data, layer.bias.data = weight, bias
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), layer, nn.Identity())


def with_batch_norms(network: Network, images: torch.Tensor) -> Network:
    """A copy that computes the same, with a BatchNorm behind each convolution."""
    copied = copy.deepcopy(network)
    for layer in copied.layers:
        if isinstance(layer, nn.Sequential):
            layer[2] = nn.BatchNorm2d(layer[1].out_channels, momentum=None)
    norms = [module for module in copied.modules() if isinstance(module, nn.BatchNorm2d)]
    estimate(copied, images, neutral=True)
    for norm in norms:
        norm.weight.data, norm.bias.data = (norm.running_var + norm.eps).sqrt(), norm.running_mean.clone()
    return copied


def estimate(network: Network, images: torch.Tensor, *, neutral: bool = False) -> None:
    """Statistics of all BatchNorms on the images; ``neutral``: of what they get while they change nothing."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_hook(lambda _, read, __: read[0]) for norm in norms] if neutral else []
    for norm in norms:
        norm.reset_running_stats()
    network.train()
    with torch.no_grad():
        for batch in images.split(BATCH):
            network(batch)
    network.eval()
    for hook in hooks:
        hook.remove()


def macs(network: Network) -> int:
    """Multiply-accumulates of convolutions and the last layer for one image."""
    total = 0

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight[0].numel() * output[0].numel()

    counted = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(count) for module in counted]
    with torch.no_grad():
        network(torch.zeros(1, 3, 240, 240))
    for hook in hooks:
        hook.remove()
    return total


def prune(network: Network, ratio: float, *, hidden_only: bool) -> Network:
    """A copy without ``ratio`` of each group's channels."""
    pruned = copy.deepcopy(network)
    hidden = pruned.hidden() if hidden_only else set(pruned.convolutions())
    layers = [module for module in pruned.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    torch_pruning.pruner.BasePruner(
        pruned,
        torch.zeros(1, 3, 240, 240),
        torch_pruning.importance.MagnitudeImportance(p=2, target_types=[nn.Conv2d, nn.Linear]),
        pruning_ratio=ratio,
        ignored_layers=[layer for layer in layers if layer not in hidden],
    ).step()
    return pruned


def prune_to(network: Network, share: float, *, hidden_only: bool) -> tuple[Network, float]:
    """With the smallest ratio (in `STEPS`) that removes ``share`` of the work, and the share that it removes."""
    whole, low, high, best = macs(network), 0, STEPS, network
    while high - low > 1:
        middle = (low + high) // 2
        pruned = prune(network, middle / STEPS, hidden_only=hidden_only)
        if macs(pruned) <= (1 - share) * whole:
            high, best = middle, pruned
        else:
            low = middle
    return best, 1 - macs(best) / whole


def predict(network: Network, images: torch.Tensor) -> np.ndarray:
    """Logits."""
    with torch.no_grad():
        return torch.cat([network(batch) for batch in images.split(BATCH)]).numpy()


def main() -> None:
    """One row per share and set of channels."""
    parser = measurement.parser("Torch-Pruning on EfficientNet-Lite1")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.2, 0.3])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        workload = datasets.efficientnet_lite1(arguments.shared, Path(name))
        with np.load(workload.calibration) as data:
            calibration = torch.tensor(data["x"])
        with np.load(workload.evaluation) as data:
            images, labels = torch.tensor(data["x"]), data["y"]
    source = Network(canonicalize(import_model(workload.model).model)).eval()
    network = with_batch_norms(source, calibration)
    expected, again = predict(source, images), predict(network, images)
    change = np.abs(again - expected).max()
    print(f"largest change of a logit by the BatchNorms: {change:.2g} of {np.abs(expected).max():.3g}")

    def scores(pruned: Network) -> list[str]:
        best = predict(pruned, images).argmax(1)
        return [f"{100 * np.mean(best == truth):.2f}" for truth in (labels, expected.argmax(1))]

    rows: list[list[object]] = [["-", f"{macs(source) / 1e6:.1f}", "0.0", *scores(source), "", ""]]
    for hidden_only in (False, True):
        for share in arguments.shares:
            pruned, removed = prune_to(network, share, hidden_only=hidden_only)
            before = scores(pruned)
            estimate(pruned, calibration)
            kind = "hidden" if hidden_only else "all"
            rows.append([kind, f"{macs(pruned) / 1e6:.1f}", f"{100 * removed:.1f}", *before, *scores(pruned)])
    columns = ["channels", "MMACs", "removed %", "top-1 %", "agreement %", "top-1 %, re-estimated", "agreement %"]
    measurement.print_table(f"Torch-Pruning {version('torch-pruning')}, EfficientNet-Lite1", columns, rows)


if __name__ == "__main__":
    main()
