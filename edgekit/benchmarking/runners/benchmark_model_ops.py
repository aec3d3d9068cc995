"""The operations in the profile of ``benchmark_model --enable_op_profiling``: as a table, or as CSV.

Source of the forms: ``stats_calculator.cc`` and ``profile_summary_formatter.cc`` of LiteRT and TensorFlow.
"""

import re
from collections.abc import Iterator

from edgekit.benchmarking.runners import OpTime

_REGULAR_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_RUN_ORDER = re.compile(r"^.*=== Run Order ===.*$", re.MULTILINE)
_NEXT_SECTION = re.compile(r"^.*={10,}|^\s*Number of nodes executed", re.MULTILINE)

# [node type] [start]? [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]; types have spaces and commas.
_ROW = re.compile(
    r"^\s*(?P<op>\S.*?)\s+(?:[\d.]+\s+)?[\d.]+\s+(?P<mean>[\d.]+)\s+[\d.]+%\s+[\d.]+%\s+-?[\d.]+\s+(?P<times>\d+)"
    r"\s+(?P<node>\S.*?)\s*$",
    re.MULTILINE,
)
# node type, first, avg_ms, %, cdf%, mem KB, times called, name; older with a start before first.
_CSV_HEAD = re.compile(r"^node type,.*times called,\s*name\s*$", re.MULTILINE)
_CSV_ROW = re.compile(
    r"^(?P<op>[^\d\n].*?),\s*(?:[\d.e+-]+,\s*)?[\d.e+-]+,\s*(?P<mean>[\d.e+-]+),\s*[\d.e+-]+%,\s*[\d.e+-]+%,"
    r"\s*[\d.e+-]+,\s*(?P<times>\d+),\s*(?P<node>.*?)\s*$",
    re.MULTILINE,
)
_DELEGATED = "Delegate/"
_DELEGATE_NODE = re.compile(r"^(TfLite\w*Delegate\w*|DELEGATE)\b")


def parse_profile(text: str) -> tuple[OpTime, ...]:
    """The operations of one inference in the order in which they run; those inside a delegate in its own words.

    A delegate's node is left out when the operations inside it are listed.
    """
    _, _, regular = text.partition(_REGULAR_RUNS)
    rows = list(_rows(regular or text))
    inside = any(node.startswith(_DELEGATED) for _, node, _ in rows)
    return tuple(
        OpTime(
            op=op if op != "DelegateOpInvoke" else _name(node).rpartition(":")[0],
            node=_name(node),
            mean_ms=mean,
            accelerated=node.startswith(_DELEGATED) or _DELEGATE_NODE.match(op) is not None,
        )
        for op, node, mean in rows
        if not (inside and _DELEGATE_NODE.match(op))
    )


def _rows(text: str) -> Iterator[tuple[str, str, float]]:
    """Type, name and milliseconds of every row of the tables in run order, which are those of the subgraphs."""
    for head, row in ((_RUN_ORDER, _ROW), (_CSV_HEAD, _CSV_ROW)):
        for start in head.finditer(text):
            end = _NEXT_SECTION.search(text, start.end())
            for match in row.finditer(text, start.end(), end.start() if end else len(text)):
                # The mean is that of one call; the oldest versions count no calls.
                calls = max(1, int(match["times"]))
                yield match["op"].strip('"'), match["node"], float(match["mean"]) * calls


def _name(node: str) -> str:
    """``[conv/Relu6]:3`` is the operation that writes conv/Relu6; ``Delegate/Add (ND, QS8):9`` the delegate's tenth."""
    tensor = re.fullmatch(r"\[(.*)\](?::\d+)?", node)
    return tensor[1] if tensor else node.removeprefix(_DELEGATED)
