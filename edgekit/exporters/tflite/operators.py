"""The operators of a written file, read back without an interpreter."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from edgekit.errors import DependencyError


def load_schema() -> Any:
    """The generated module of the flatbuffers schema. Raises DependencyError when it is not installed."""
    try:
        from ai_edge_litert import schema_py_generated
    except ModuleNotFoundError:
        raise DependencyError("TFLite export needs ai-edge-litert: pip install ai-edge-litert") from None
    return schema_py_generated


def list_operators(path: Path) -> Iterator[tuple[str, str]]:
    """The builtin operator name and the name of the first output of each operator of a ``.tflite`` file, in order."""
    schema = load_schema()

    model = schema.Model.GetRootAsModel(path.read_bytes(), 0)
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for position in range(graph.OperatorsLength()):
            operator = graph.Operators(position)
            code = model.OperatorCodes(operator.OpcodeIndex())
            # Files for old runtimes have the code in a byte that ends at 127.
            builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            yield _names()[builtin], graph.Tensors(operator.Outputs(0)).Name().decode()


@cache
def _names() -> dict[int, str]:
    schema = load_schema()

    return {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
