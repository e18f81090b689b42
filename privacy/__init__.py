"""Everything a privacy reviewer must read, and nothing else.

`doors` are the only ways to a database, a private file, a lock, SQL and the environment; `keys` holds and checks the
secret keys; `normalise` gives names, dates and postcodes one form; `pseudonyms` replaces identifiers by keyed tokens;
`names/` is the public table of given-name forms; `linkage/` decides which pseudonymised rows are the same child;
`release/` draws noise under a budget that cannot be overspent; `estimation/` makes figures of noisy counts; `returns/`
decides what a sender may be told; `marks` are what an objection leaves behind; `chained_log` shows whether a line of a
log was changed or removed. Nothing here knows of Dagster, and nothing opens an extract: rows come in through the table
a caller hands over.
"""
