"""Top-1 of every artifact against the float source, file sizes, and how far the formats agree.

python benchmarks/accuracy.py [--precision int8] [--targets android-arm64 x86-64]
"""

import tempfile
from pathlib import Path

import datasets
import measurement

import edgekit


def main() -> None:
    """One table for all models of ../shared."""
    parser = measurement.parser("Accuracy of the artifacts of every model in ../shared")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--targets", nargs="+", default=["android-arm64", "x86-64"])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for workload in (
            datasets.resnet8(arguments.shared, folder),
            datasets.keyword_spotting(arguments.shared, folder, "kws_saved_model"),
            datasets.keyword_spotting(arguments.shared, folder, "kws_float.tflite"),
            datasets.efficientnet_lite1(arguments.shared, folder),
        ):
            rows += _rows(workload, arguments.targets, arguments.precision, folder / "dist")
    columns = [
        "model",
        "target",
        "format",
        "bytes",
        "top-1 %",
        "float %",
        "loss",
        "agreement %",
        "formats %",
        "SQNR dB",
    ]
    measurement.print_table(f"Accuracy, {arguments.precision}", columns, rows)


def _rows(workload: datasets.Workload, targets: list[str], precision: str, out: Path) -> list[list[object]]:
    manifest = edgekit.export(
        workload.model,
        targets,
        calibration=workload.calibration,
        eval=workload.evaluation,
        precision=precision,
        max_drop=100.0,
        out=out,
    )
    rows: list[list[object]] = []
    for artifact in manifest.artifacts:
        seen = artifact.verification
        assert seen.top1 is not None and seen.top1_float is not None
        formats = min(seen.format_agreement.values(), default=100.0)
        loss = f"{seen.top1_float - seen.top1:+.2f}"
        top1 = [f"{seen.top1:.2f}", f"{seen.top1_float:.2f}", loss, f"{seen.top1_agreement:.2f}", f"{formats:.2f}"]
        rows.append([workload.name, artifact.target, artifact.format, artifact.bytes, *top1, f"{seen.sqnr_db:.2f}"])
    return rows


if __name__ == "__main__":
    main()
