"""Plans, budgets and releases of several cohorts, from child tables made up for it."""
