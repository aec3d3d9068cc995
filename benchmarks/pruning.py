"""Top-1 of pruned networks, float and int8, against their source; fitted on unlabelled images, judged on others.

    python benchmarks/pruning.py EfficientNet-Lite1 --ratios 0.1 0.2 0.3
    python benchmarks/pruning.py EfficientNet-Lite1 --ratios 0.1 0.2 --recover
    python benchmarks/pruning.py ResNet-8 --ratios 0.15 0.3 [--recover]
    python benchmarks/pruning.py Fashion-MNIST --ratios 0.3 0.5 --recover

Every row is a whole ``edgekit export --prune`` for x86-64, whose artifacts are verified and then timed in turn with the
unpruned ones; ``--max-drop 100`` lets every row through, so that bad ones are seen too.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import measurement

import edgekit

WORKLOADS = {
    "EfficientNet-Lite1": datasets.efficientnet_lite1,
    "ResNet-8": datasets.resnet8,
    "Fashion-MNIST": datasets.fashion_mnist,
}


def main() -> None:
    """One table for one model."""
    parser = measurement.parser(__doc__ or "")
    parser.add_argument("model", choices=list(WORKLOADS))
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.1, 0.2, 0.3], help="shares of the MACs to remove")
    parser.add_argument("--importance", default="obs")
    parser.add_argument("--recover", action="store_true")
    parser.add_argument("--recover-minutes", type=float, default=20.0)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        workload = WORKLOADS[arguments.model](arguments.shared, Path(name))
        for ratio in arguments.ratios:
            keywords = {"importance": arguments.importance}
            if arguments.recover:
                keywords |= {"recover": True, "recover_minutes": arguments.recover_minutes}
            rows += _rows(workload, ratio, Path(name) / f"dist{ratio}", keywords)
    columns = [
        "share of MACs to remove",
        "removed",
        "parameters removed",
        "cross-fit loss",
        "format",
        "float source top-1 %",
        "pruned float %",
        "lost, points",
        "pruned int8 %",
        "lost, points",
        "bytes, of unpruned int8",
        "latency, of unpruned int8",
        "seconds",
    ]
    kind = f"{arguments.importance}, {'with' if arguments.recover else 'no'} recovery"
    measurement.print_table(f"{workload.name}, {kind}", columns, rows)


def _rows(workload: datasets.Workload, ratio: float, out: Path, keywords: dict[str, object]) -> list[list[object]]:
    start = time.perf_counter()
    manifest = edgekit.export(
        workload.model,
        "x86-64",
        calibration=workload.calibration,
        eval=workload.evaluation,
        prune=ratio,
        max_drop=100.0,
        out=out,
        **keywords,  # type: ignore[arg-type]
    )
    seconds = time.perf_counter() - start
    pruning = manifest.to_json()["pruning"]
    report, recovery, float_ = pruning["report"], pruning["recovery"], pruning["float"]
    removed = [1 - report[f"{what}_after"] / report[f"{what}_before"] for what in ("macs", "parameters")]
    shares = [f"{share:.1%}" for share in removed]
    rows: list[list[object]] = []
    for artifact, compared in zip(manifest.artifacts, pruning["artifacts"], strict=True):
        source, top1 = artifact.verification.top1_float, artifact.verification.top1
        assert source is not None and top1 is not None
        accuracy = [f"{source:.2f}", f"{float_['top1']:.2f}", f"{source - float_['top1']:.2f}"]
        accuracy += [f"{top1:.2f}", f"{source - top1:.2f}"]
        size = compared["after"]["bytes"] / compared["before"]["bytes"]
        cells = [f"{ratio:.0%}", *shares, report["loss"], artifact.format, *accuracy]
        rows.append([*cells, f"{size:.2f}", _latency(compared), f"{seconds:.0f}"])
    note = "" if recovery is None else f"; recovery: {recovery}"
    print(f"{workload.name} {ratio:.0%}: {report['compensation']}{note}", flush=True)
    for group in report["groups"]:
        if group["after"] < group["before"]:
            loss = "with its branch" if group["loss"] is None else f"loss alone {group['loss']:.3g}"
            print(f"  {group['name']}: {group['before']} -> {group['after']}, {loss}", flush=True)
    return rows


def _latency(compared: dict[str, Any]) -> str:
    if "latency_ratio" not in compared:
        return "-"
    low, high = compared["latency_ratio_ci"]
    return f"{compared['latency_ratio']:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    main()
