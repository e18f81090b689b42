"""Differentially private release: from a frozen child table to noisy measurements and a privacy statement.

What a privacy reviewer reads, in the order in which things happen:

    policy        how much may be spent, and what is accurate enough        public, privacy/policy.yaml
    workload      what is asked: attributes, marginals, identities, cubes   public declarations
    plan          how much noise each measured marginal gets                public, hashed, made before data is read
    child_table   exact counts, and a keyed identity of the input           restricted zone, never stored
    mechanism     noise and its charge, both from OpenDP                    the only way out for a count
    approval      who has signed, and whether that is enough                kept in the ledger
    acceptance    who has accepted what a release is held for               kept in the ledger
    ledger        what was charged, append-only                             never more than the approved cap
    store         the noisy integers, kept once                             restricted zone
    session       charge, draw, store, commit: once, through any crash      the only caller of the mechanism
    statement     what is protected, and what is not                        public

`components` holds the linear algebra of plans; `ledger_storage` and `ledger_postgres`, where the ledger is kept;
`canonical`, the byte form of documents. What is made of the noisy counts is `privacy.estimation`. The guarantee is
rho-zCDP for one row of the child table added or removed. Nothing here reads an extract, knows a table's title, or
depends on how a run is scheduled.
"""
