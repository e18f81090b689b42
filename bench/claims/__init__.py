"""The examiner of `readiness check-claim`: sentences with known verdicts, made from a release's tables alone."""
