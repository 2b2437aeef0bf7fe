"""What customers have with the vendor: spend, terms, budgets, quotes, service levels, and the wiring of all that."""
