-- What people have signed, beside the ledger's entries, for a name, the database's type of 64-bit integers, and its options.
CREATE TABLE IF NOT EXISTS {table} (
    seq           {integer} PRIMARY KEY,
    content       TEXT NOT NULL,
    recorded_at   TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    entry_hash    TEXT NOT NULL UNIQUE
){options};
