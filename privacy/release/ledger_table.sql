-- The ledger's entries, for a name, the database's type of 64-bit integers, and its options of a table.
CREATE TABLE IF NOT EXISTS {table} (
    seq                {integer} PRIMARY KEY,
    kind               TEXT NOT NULL CHECK (kind IN ('APPROVE', 'RESERVE', 'COMMIT', 'VOID')),
    cohort             TEXT NOT NULL CHECK (cohort <> ''),
    release            TEXT NOT NULL,
    family             TEXT NOT NULL,
    nano_rho           {integer} NOT NULL CHECK (nano_rho > 0),
    plan_sha256        TEXT NOT NULL,
    input_mac          TEXT NOT NULL,
    measurement_sha256 TEXT NOT NULL,
    note               TEXT NOT NULL,
    unit               TEXT NOT NULL CHECK (unit <> ''),
    recorded_at        TEXT NOT NULL,
    previous_hash      TEXT NOT NULL,
    entry_hash         TEXT NOT NULL UNIQUE
){options};

CREATE UNIQUE INDEX IF NOT EXISTS one_approval ON {table} (cohort, unit) WHERE kind = 'APPROVE';
CREATE INDEX IF NOT EXISTS by_charge ON {table} (cohort, release, family);
