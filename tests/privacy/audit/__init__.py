"""The audit of the release: tests that would fail if it protected less than it declares, and proof that they would.

    residuals     A  the noise of every measured cell has the law that was charged for
    sensitivity   B  one child more or less, in the raw extracts, moves what is measured by what was charged for
    black_box     C  nobody who sees everything published can tell neighbours apart better than rho allows
    shape         D  nothing but the noisy integers depends on who is in it: not a byte
    accountants   E  what the ledger charged covers what was drawn, by a second accountant
    once          F  a kill and a retry draw once for one charge

Each is a function that raises AssertionError. `mutants` holds ten planted mistakes; `test_audit` runs the audit on the
product, and `test_mutants` on each mutant. `make test-privacy` runs them at a size of seconds, `make audit` of minutes.
"""
