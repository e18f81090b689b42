"""One draw for one charge, whatever is killed or races; a ledger that cannot be overspent, in both storages."""
