"""Read a manifest back, as somebody else may have written, cut or changed it."""

from pathlib import Path, PurePosixPath

import edgekit
from edgekit.errors import InputError
from edgekit.exporters import ExportedInterface
from edgekit.interface import Layout, Precision, TensorSpec
from edgekit.release.document import Document, read_document
from edgekit.release.manifest import FILE_NAME, SCHEMA, Artifact, DataRecord, Manifest, ModelRecord
from edgekit.runtimes import FORMATS, Delegation, Fallback
from edgekit.verification.metrics import PartVerification, Verification

_PRECISIONS = (*map(str, Precision), "mixed")


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``, which is a ``manifest.json`` or the folder of one.

    Raises InputError naming the key for what is no manifest of schema 1, or whose artifacts lie outside its folder.
    """
    path = Path(path)
    if path.is_dir():
        path = path / FILE_NAME
    root = read_document(path)
    if "schema" not in root or "artifacts" not in root:
        raise InputError(f"{path}: is no manifest; expected the manifest.json of edgekit export")
    if root.signed("schema") != SCHEMA:
        raise root.error("schema", f"{SCHEMA}, which is what edgekit {edgekit.__version__} reads: export again")
    artifacts = tuple(_artifact(entry) for entry in root.objects("artifacts"))
    if not artifacts:
        raise root.error("artifacts", "at least one artifact")
    return Manifest(
        folder=path.parent,
        name=root.string("name"),
        model=_model(root.object("model")),
        calibration=_data(root.object("calibration")) if "calibration" in root else None,
        artifacts=artifacts,
        settings=_settings(root),
        environment={name: str(version) for name, version in root.values("environment").items()},
        pruning=root.values("pruning") if "pruning" in root else None,
    )


def read_evaluation(manifest: Manifest) -> DataRecord | None:
    """The labelled data that the artifacts were judged on, or None."""
    settings = Document(manifest.folder / FILE_NAME, "settings", manifest.settings)
    return _data(settings.object("eval")) if "eval" in settings else None


def _settings(root: Document) -> dict[str, object]:
    settings = root.object("settings")
    if "max_drop" in settings and not 0 <= settings.number("max_drop") <= 100:
        raise settings.error("max_drop", "percentage points from 0 to 100")
    if "samples" in settings and not settings.integer("samples"):
        raise settings.error("samples", "a whole number of at least 1")
    shapes = settings.object("input_shapes")
    for name in root.object("settings").values("input_shapes"):
        shapes.integers(name)
    settings.values("targets")
    return root.values("settings")


def _model(entry: Document) -> ModelRecord:
    return ModelRecord(
        path=entry.string("path"),
        format=entry.string("format"),
        sha256=entry.sha256("sha256"),
        parameters=entry.integer("parameters"),
        macs=entry.integer("macs"),
        inputs=_tensors(entry, "inputs"),
        outputs=_tensors(entry, "outputs"),
    )


def _data(entry: Document) -> DataRecord:
    return DataRecord(entry.string("path"), entry.sha256("sha256"), entry.integer("samples"))


def _artifact(entry: Document) -> Artifact:
    return Artifact(
        target=entry.string("target"),
        format=entry.one_of("format", FORMATS),
        path=_inside(entry),
        sha256=entry.sha256("sha256"),
        bytes=entry.integer("bytes"),
        precision=entry.one_of("precision", _PRECISIONS),
        layout=Layout(entry.one_of("layout", tuple(Layout))),
        interface=ExportedInterface(_tensors(entry, "inputs"), _tensors(entry, "outputs")),
        verification=_verification(entry.object("verification")),
        delegation=_delegation(entry.object("delegation")) if "delegation" in entry else None,
    )


def _inside(entry: Document) -> str:
    """The artifact's path. What leads out of the manifest's folder is not read."""
    text = entry.string("path")
    path = PurePosixPath(text)
    folder = entry.path.parent.resolve()
    if "\0" in text or path.is_absolute() or ".." in path.parts or not (folder / path).resolve().is_relative_to(folder):
        raise entry.error("path", "a path inside the manifest's folder")
    return text


def _tensors(entry: Document, key: str) -> tuple[TensorSpec, ...]:
    return tuple(_tensor(tensor) for tensor in entry.objects(key))


def _tensor(entry: Document) -> TensorSpec:
    shape = entry.integers("shape")
    permutation = entry.integers("permutation") if "permutation" in entry else None
    if permutation is not None and sorted(permutation) != list(range(len(shape))):
        raise entry.error("permutation", f"an order of the {len(shape)} axes")
    return TensorSpec(
        name=entry.string("name"),
        dtype=entry.one_of("dtype", _DTYPES),
        shape=shape,
        scale=entry.optional_number("scale"),
        zero_point=entry.signed("zero_point") if "zero_point" in entry else None,
        permutation=permutation,
    )


_DTYPES = (
    *("float32", "float16", "float64", "bool", "int8", "uint8"),
    *("int16", "uint16", "int32", "uint32", "int64", "uint64"),
)


def _verification(entry: Document) -> Verification:
    return Verification(
        runtime=entry.string("runtime"),
        samples=entry.integer("samples"),
        sqnr_db=entry.number("sqnr_db"),
        cosine=entry.number("cosine"),
        max_abs_error=entry.number("max_abs_error"),
        top1_agreement=entry.optional_number("top1_agreement"),
        top1=entry.optional_number("top1"),
        top1_float=entry.optional_number("top1_float"),
        top5=entry.optional_number("top5"),
        top5_float=entry.optional_number("top5_float"),
        format_agreement=entry.numbers_by_name("format_agreement"),
        format_cosine=entry.numbers_by_name("format_cosine"),
        parts=tuple(_part(part) for part in entry.objects("outputs")) if "outputs" in entry else (),
    )


def _part(entry: Document) -> PartVerification:
    return PartVerification(
        output=entry.string("name"),
        part=entry.string("part") if "part" in entry else "",
        sqnr_db=entry.number("sqnr_db"),
        cosine=entry.number("cosine"),
        max_abs_error=entry.number("max_abs_error"),
    )


def _delegation(entry: Document) -> Delegation:
    fallback = tuple(Fallback(e.string("op"), e.string("node"), e.string("reason")) for e in entry.objects("fallback"))
    return Delegation(entry.integer("accelerated_ops"), entry.integer("total_ops"), fallback)
