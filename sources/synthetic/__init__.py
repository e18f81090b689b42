"""Believable extracts, made up from public statistics: no row is about a real child.

`generate` draws the true children of a cohort (`people`, `attainment`, to the published `margins`), has every service
write them down with the slips of real records (`recording`) in what it returns (`education`, `health_visiting`,
`survey_of_parents`), and writes each council's files in that council's own dialect (`writing`). The truth - who each
row is about, and what the published figures would be - is written beside the landing folder, never into it.

All randomness is seeded; nothing here reads an extract or knows of keys, tokens or linkage.
"""

from sources.synthetic.writing import DEFAULT_SEED, generate

__all__ = ["DEFAULT_SEED", "generate"]
