"""What was measured before: every benchmark's results in one small SQLite file.

schema.py      the file's tables, how it is opened, and what can be wrong with it
store.py       record a run; find, list and delete runs
selection.py   which runs and measurements are asked for
documents.py   results read back: from the file, or from a document of ``edgekit benchmark --json``
comparison.py  an old and a new run: ratios, intervals, and what makes them hard to compare
intervals.py   how sure the ratio of two runs is
notes.py       in what two runs differ besides their figures
series.py      a figure over time, per artifact and device; edgekit/console/chart.py draws it in the terminal
figure.py      the same as PNG or SVG
"""

from edgekit.history.comparison import compare_reports
from edgekit.history.documents import find_report
from edgekit.history.selection import Selection
from edgekit.history.store import History, default_path

__all__ = ["History", "Selection", "compare_reports", "default_path", "find_report"]
