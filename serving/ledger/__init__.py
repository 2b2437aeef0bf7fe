"""The ledger: append-only double entry, numbered invoices, corrections, and what limits are enforced on."""
