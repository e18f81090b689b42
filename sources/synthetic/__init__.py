"""Realistic synthetic extracts, generated from public statistics: no row is about a real child.

`generate` draws the true children of a cohort (`people`, `attainment`) to match the published `margins`, records them
in each service's returns (`returns`) with the errors of real records (`recording`), and writes each council's files in
that council's dialect (`writing`). The truth (which child each row is about) is written next to the landing folder,
never into it.

All randomness is seeded; nothing here reads an extract or uses keys, tokens or linkage.
"""

from sources.synthetic.writing import DEFAULT_SEED, generate

__all__ = ["DEFAULT_SEED", "generate"]
