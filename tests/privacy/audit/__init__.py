"""Audit of the release: checks that fail if it protects less than it declares, and proof that they do.

    residuals     A  the noise of every measured cell has the distribution that was charged for
    sensitivity   B  one child more or less in the raw extracts changes the measured counts by no more than was charged
    black_box     C  nobody who sees everything published can distinguish neighbours better than rho allows
    shape         D  nothing except the noisy integers depends on the input, not a single byte
    accountants   E  the ledger's charge covers the noise that was drawn, by a second accountant
                  F  a kill and a retry draw once for one charge
    draws         G  no draw ends its process, under load or when a signal interrupts it

Each check is a function that raises AssertionError. `mutants` has ten planted mistakes; `test_audit` runs the audit on
the product, and `test_mutants` on each mutant. `make test-privacy` runs them in seconds, `make audit` with larger sizes
in minutes.
"""
