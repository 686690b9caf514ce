"""jobledger: an enterprise job scheduler whose state, audit and recovery are one replay of a durable log."""

from pathlib import Path

__version__ = "0.1.0"

_here = Path(__file__).parent
if not (_here / "domain").is_dir():
    # In a checkout the rooms stand beside this package and not in it: an installed copy has them inside.
    __path__.append(str(_here.parent))
