"""One draw for one charge, through kills and races; a ledger that cannot be overspent, on both backends."""
