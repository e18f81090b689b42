"""Facts about a release other than its tables: who publishes it, what is missing, what was published before."""
