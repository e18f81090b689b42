-- What holds the rules of ledger_rules.yaml over one table in PostgreSQL; its function looks at each of them.
CREATE OR REPLACE FUNCTION readiness_ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE integrity_constraint_violation USING MESSAGE = 'the budget ledger is append-only: no entry may be '
        || CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'removed' END;
END $$;

CREATE OR REPLACE FUNCTION readiness_ledger.CHECK() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    broken text;
BEGIN
    SELECT CASE CASES
    END INTO broken;
    IF broken IS NOT NULL THEN
        RAISE integrity_constraint_violation USING MESSAGE = broken;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER only_append BEFORE INSERT ON readiness_ledger.TABLE
    FOR EACH ROW EXECUTE FUNCTION readiness_ledger.CHECK();
CREATE TRIGGER never_update BEFORE UPDATE ON readiness_ledger.TABLE
    FOR EACH STATEMENT EXECUTE FUNCTION readiness_ledger.refuse_change();
CREATE TRIGGER never_delete BEFORE DELETE ON readiness_ledger.TABLE
    FOR EACH STATEMENT EXECUTE FUNCTION readiness_ledger.refuse_change();
CREATE TRIGGER never_truncate BEFORE TRUNCATE ON readiness_ledger.TABLE
    FOR EACH STATEMENT EXECUTE FUNCTION readiness_ledger.refuse_change();
