"""Everything that a privacy reviewer must read, and nothing else.

`doors/` is the only access to databases, private files, locks, SQL and the environment. `keys` checks the secret keys;
`normalise` standardises names, dates and postcodes; `pseudonyms` replaces identifiers with keyed tokens; `names/` has
public tables of names; `linkage/` decides which pseudonymised rows are about the same child; `release/` draws noise
under a budget that cannot be overspent; `synthetic/` fits synthetic records to noisy counts; `estimation/` turns noisy
counts into figures; `returns/` decides what may be disclosed to a sender; `marks` recognises children removed after an
objection; `chained_log` detects changed or removed lines of a log. Nothing here uses Dagster or opens an extract: rows
come in a table passed by the caller.
"""
