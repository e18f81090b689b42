"""The examiner of `readiness check-claim`: claims with known verdicts, made from a release's tables alone."""
