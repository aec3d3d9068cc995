"""The file of ``--out``: always a whole document, with everything that is measured so far."""

import json
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarking.results import Report
from edgekit.errors import UsageError
from edgekit.files import replace_file, require_room


@dataclass(frozen=True, slots=True)
class ReportFile:
    """Rewritten after each trial; what is read there is never half a document."""

    path: Path

    def require_writable(self) -> None:
        """Raises UsageError when the file cannot be written, before an hour of measuring."""
        if self.path.is_dir():
            raise UsageError(f"--out {self.path}: a folder; expected a file")
        try:
            require_room(self.path)
        except OSError as error:
            raise self._error(error) from None

    def write(self, report: Report) -> None:
        """Replace the document. Raises UsageError when that cannot be written; the one before stays then."""
        document = json.dumps(report.to_json(), indent=2) + "\n"
        try:
            replace_file(self.path, document.encode())
        except OSError as error:
            raise self._error(error) from None

    def _error(self, error: OSError) -> UsageError:
        return UsageError(
            f"--out {self.path}: cannot be written ({error.strerror}); expected a file in a folder with room"
        )
