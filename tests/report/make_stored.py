"""Store reports as this version writes them, for later versions to read: once for each version, before it is released.

python -m tests.report.make_stored
"""

from __future__ import annotations

import json
from pathlib import Path

from introspect.report import serde
from tests.tb.synthetic import make_cut_series, make_gan_series, make_replica_series, make_vgg_series

FOLDER = Path(__file__).parent / "stored"


def main() -> None:
    """Write `<name>_v<version>.pb` and its `to_dict` beside it; what is there stays."""
    FOLDER.mkdir(exist_ok=True)
    for make in (make_vgg_series, make_cut_series, make_replica_series, make_gan_series):
        series = make()
        path = FOLDER / f"{series.run}_v{serde.VERSION}.pb"
        if path.exists():
            raise SystemExit(f"{path} is there: raise serde.VERSION, or remove it if its version is not released")
        report = series.reports[min(1, len(series.reports) - 1)]
        path.write_bytes(serde.write_report(report))
        path.with_suffix(".json").write_text(json.dumps(report.to_dict()) + "\n")


if __name__ == "__main__":
    main()
