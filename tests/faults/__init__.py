"""What goes wrong on a machine, done to real runs: kills, a full disk, missing rights, damaged files, a wrong clock.

After each: nothing that was finished is lost, no identifier is anywhere outside landing, nothing is spent twice, and
the next run completes or says in one sentence what a person must do. `READINESS_AUDIT_FAULTS` is the number of kills a
stage.
"""
