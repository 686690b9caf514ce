"""How long to wait before the next attempt."""

import random

FIRST_PAUSE_MS = 100
LONGEST_PAUSE_MS = 30_000


def pause_ms(failures: int) -> int:
    """The pause after so many failures in a row: doubling, at most 30 s, and spread by half."""
    doublings = min(max(failures - 1, 0), 20)
    longest = min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << doublings)
    return round(longest * random.uniform(0.5, 1.0))  # noqa: S311  spreads retries, guards nothing
