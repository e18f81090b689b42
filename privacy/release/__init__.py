"""Differentially private release: from a frozen child table to noisy measurements and a privacy statement.

The modules, in the order in which a release uses them:

    policy        budgets and minimum accuracy                              public, privacy/policy.yaml
    workload      attributes, marginals, identities and cubes               public declarations
    plan          noise scale of each measured marginal                     public, hashed, made before data is read
    child_table   exact counts, and a keyed identity of the input           restricted zone, never stored
    mechanism     noise and its cost, both from OpenDP                      the only way out for a count
    approval      who has signed, and whether enough people have            kept in the ledger
    ledger        charges, append-only                                      never more than the approved cap
    session       charge, draw, store and commit, safe against crashes      the only caller of the mechanism
    statement     what is protected, and what is not                        public

`components` holds the linear algebra of plans; `ledger_storage` and `ledger_postgres` store the ledger; `canonical`
defines the byte form of documents. `privacy.estimation` turns the noisy counts into figures. The guarantee is rho-zCDP
for one row of the child table added or removed. Nothing here reads an extract, knows a table's title, or depends on how
a run is scheduled.
"""
