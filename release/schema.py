"""Keep a database of this version for the tests of later versions: `tests/data/schemas/0007.kalathi`.

    python -m release.schema

It starts a marketplace, plays a few scenarios, and takes a backup. Run it once for each release that changes the
tables; `tests/conformance/test_upgrading.py` upgrades each of these files, on both databases.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from kalathi.marketplace.kernel.storage.migrating import HEAD
from kalathi.testing import Kalathi

FOLDER: Final = Path(__file__).parents[1] / "tests/data/schemas"
# Orders and returns in many states, invoices, goods in the warehouse.
SCENARIOS: Final = (
    "new_order",
    "accept",
    "limited_stock",
    "invoice",
    "return_faulty",
    "warehouse",
    "preorder",
    "expiry",
)
_KALATHI: Final = (sys.executable, "-m", "kalathi")


def main() -> None:
    """Write the file of this shape."""
    file = FOLDER / f"{HEAD}.kalathi"
    file.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "market"
        serve = [*_KALATHI, "serve", "--port", "0", "--data", str(data)]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, cwd=name) as process:
            try:
                if process.stdout is None or "ready" not in process.stdout.readline():
                    raise SystemExit("The marketplace did not start.")
                _play(
                    (data / "address").read_text("utf-8").strip(), (data / "operator-token").read_text("utf-8").strip()
                )
                subprocess.run([*_KALATHI, "backup", str(file), "--force", "--data", str(data)], check=True, cwd=name)
            finally:
                process.terminate()


def _play(url: str, operator_token: str) -> None:
    with Kalathi.connect(url, operator_token) as kalathi:
        for scenario in SCENARIOS:
            kalathi.play(scenario)


if __name__ == "__main__":
    main()
