"""The file of ``--out``: always a whole document, with everything that is measured so far."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit.benchmarking.results import Report
from edgekit.errors import UsageError


@dataclass(frozen=True, slots=True)
class ReportFile:
    """Rewritten after each trial; what is read there is never half a document."""

    path: Path

    def require_writable(self) -> None:
        """Raises UsageError when the file cannot be written, before an hour of measuring."""
        if self.path.is_dir():
            raise UsageError(f"--out {self.path}: a folder; expected a file")
        self._write_beside("").unlink()

    def write(self, report: Report) -> None:
        """Replace the document. Raises UsageError when that cannot be written; the one before stays then."""
        document = json.dumps(report.to_json(), indent=2) + "\n"
        self._write_beside(document).replace(self.path)

    def _write_beside(self, text: str) -> Path:
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
        except OSError as error:
            with suppress(OSError):
                beside.unlink()
            raise UsageError(
                f"--out {self.path}: cannot be written ({error.strerror}); expected a file in a folder with room"
            ) from None
        return beside
