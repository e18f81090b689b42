-- What the first version made of an SQLite file, word for word.
-- The ledger's entries, for a name, the database's type of 64-bit integers, and its options of a table.
CREATE TABLE IF NOT EXISTS entries (
    seq                INTEGER PRIMARY KEY,
    kind               TEXT NOT NULL CHECK (kind IN ('APPROVE', 'RESERVE', 'COMMIT', 'WRITE_OFF')),
    cohort             TEXT NOT NULL CHECK (cohort <> ''),
    release            TEXT NOT NULL,
    family             TEXT NOT NULL,
    nano_rho           INTEGER NOT NULL CHECK (nano_rho > 0),
    plan_sha256        TEXT NOT NULL,
    input_mac          TEXT NOT NULL,
    measurement_sha256 TEXT NOT NULL,
    note               TEXT NOT NULL,
    recorded_at        TEXT NOT NULL,
    previous_hash      TEXT NOT NULL,
    entry_hash         TEXT NOT NULL UNIQUE
) STRICT;

CREATE UNIQUE INDEX IF NOT EXISTS one_approval ON entries (cohort) WHERE kind = 'APPROVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_charge ON entries (cohort, release, family) WHERE kind = 'RESERVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_end ON entries (cohort, release, family) WHERE kind IN ('COMMIT', 'WRITE_OFF');

CREATE TRIGGER IF NOT EXISTS never_update BEFORE UPDATE ON entries BEGIN
    SELECT RAISE(ABORT, 'the budget ledger is append-only: no entry may be changed');
END;

CREATE TRIGGER IF NOT EXISTS never_delete BEFORE DELETE ON entries BEGIN
    SELECT RAISE(ABORT, 'the budget ledger is append-only: no entry may be removed');
END;
CREATE TRIGGER IF NOT EXISTS only_append BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'an entry must follow the last one') WHERE coalesce(NEW.seq, 0) <> (SELECT coalesce(max(seq), 0) + 1 FROM entries)
OR coalesce(NEW.previous_hash, '') <>
   coalesce((SELECT entry_hash FROM entries ORDER BY seq DESC LIMIT 1), '0000000000000000000000000000000000000000000000000000000000000000')
; END;
CREATE TRIGGER IF NOT EXISTS approve_once BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'the budget of a cohort is approved once') WHERE NEW.kind = 'APPROVE' AND EXISTS (SELECT 1 FROM entries WHERE kind = 'APPROVE' AND cohort = NEW.cohort)
; END;
CREATE TRIGGER IF NOT EXISTS charge_once BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'a family is charged once per release') WHERE NEW.kind = 'RESERVE' AND EXISTS (
    SELECT 1 FROM entries WHERE kind = 'RESERVE'
       AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family))
; END;
CREATE TRIGGER IF NOT EXISTS never_overspend BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'the charge would overspend the approved budget') WHERE NEW.kind = 'RESERVE' AND NEW.nano_rho
+ coalesce((SELECT sum(nano_rho) FROM entries WHERE kind = 'RESERVE' AND cohort = NEW.cohort), 0)
> coalesce((SELECT nano_rho FROM entries WHERE kind = 'APPROVE' AND cohort = NEW.cohort), 0)
; END;
CREATE TRIGGER IF NOT EXISTS end_once BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'an end must match one open charge') WHERE NEW.kind IN ('COMMIT', 'WRITE_OFF') AND (
    NOT EXISTS (
        SELECT 1 FROM entries WHERE kind = 'RESERVE'
           AND (cohort, release, family, nano_rho, plan_sha256, input_mac)
             = (NEW.cohort, NEW.release, NEW.family, NEW.nano_rho, NEW.plan_sha256, NEW.input_mac))
    OR EXISTS (
        SELECT 1 FROM entries WHERE kind IN ('COMMIT', 'WRITE_OFF')
           AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family)))
; END;
