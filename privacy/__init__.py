"""Everything a privacy reviewer must read, and nothing else.

`keys` holds and checks the secret keys; `normalise` gives names, dates and postcodes one form; `pseudonyms` replaces
identifiers by keyed tokens; `names/` is the public table of given-name forms; `linkage/` decides which pseudonymised
rows are the same child; `release/` draws noise under a budget that cannot be overspent.
Nothing here knows of Dagster, and nothing opens an extract: rows come in through the table a caller hands over.
"""
