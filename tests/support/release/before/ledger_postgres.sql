-- What the first version made of a PostgreSQL database, word for word.
DROP INDEX readiness_ledger.by_charge, readiness_ledger.one_approval;
ALTER TABLE readiness_ledger.entries DROP CONSTRAINT entries_kind_check,
    ADD CONSTRAINT entries_kind_check CHECK (kind IN ('APPROVE', 'RESERVE', 'COMMIT', 'WRITE_OFF'));
CREATE UNIQUE INDEX IF NOT EXISTS one_approval ON readiness_ledger.entries (cohort) WHERE kind = 'APPROVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_charge ON readiness_ledger.entries (cohort, release, family) WHERE kind = 'RESERVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_end ON readiness_ledger.entries (cohort, release, family) WHERE kind IN ('COMMIT', 'WRITE_OFF');

-- What holds the rules of ledger_rules.yaml in PostgreSQL; check_entry looks at each of them.
CREATE OR REPLACE FUNCTION readiness_ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = 'the budget ledger is append-only: no entry may be '
        || CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END;
END $$;

CREATE OR REPLACE FUNCTION readiness_ledger.check_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken text;
BEGIN
    SELECT CASE WHEN coalesce(NEW.seq, 0) <> (SELECT coalesce(max(seq), 0) + 1 FROM readiness_ledger.entries)
OR coalesce(NEW.previous_hash, '') <>
   coalesce((SELECT entry_hash FROM readiness_ledger.entries ORDER BY seq DESC LIMIT 1), '0000000000000000000000000000000000000000000000000000000000000000')
 THEN 'an entry must follow the last one' WHEN NEW.kind = 'APPROVE' AND EXISTS (SELECT 1 FROM readiness_ledger.entries WHERE kind = 'APPROVE' AND cohort = NEW.cohort)
 THEN 'the budget of a cohort is approved once' WHEN NEW.kind = 'RESERVE' AND EXISTS (
    SELECT 1 FROM readiness_ledger.entries WHERE kind = 'RESERVE'
       AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family))
 THEN 'a family is charged once per release' WHEN NEW.kind = 'RESERVE' AND NEW.nano_rho
+ coalesce((SELECT sum(nano_rho) FROM readiness_ledger.entries WHERE kind = 'RESERVE' AND cohort = NEW.cohort), 0)
> coalesce((SELECT nano_rho FROM readiness_ledger.entries WHERE kind = 'APPROVE' AND cohort = NEW.cohort), 0)
 THEN 'the charge would overspend the approved budget' WHEN NEW.kind IN ('COMMIT', 'WRITE_OFF') AND (
    NOT EXISTS (
        SELECT 1 FROM readiness_ledger.entries WHERE kind = 'RESERVE'
           AND (cohort, release, family, nano_rho, plan_sha256, input_mac)
             = (NEW.cohort, NEW.release, NEW.family, NEW.nano_rho, NEW.plan_sha256, NEW.input_mac))
    OR EXISTS (
        SELECT 1 FROM readiness_ledger.entries WHERE kind IN ('COMMIT', 'WRITE_OFF')
           AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family)))
 THEN 'an end must match one open charge'
    END INTO broken;
    IF broken IS NOT NULL THEN
        RAISE integrity_constraint_violation USING MESSAGE = broken;
    END IF;
    RETURN NEW;
END $$;

