"""Every scenario file, played against the pure core."""

from pathlib import Path

import pytest
from runner import play, read

SCENARIOS = sorted(Path(__file__).parent.glob("*.scenario"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path) -> None:
    differences = play(read(path))
    assert not differences, f"{path.name}\n" + "\n".join(differences) + "\n\n" + path.read_text()
