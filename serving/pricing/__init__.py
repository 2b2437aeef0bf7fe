"""Usage and a plan in, invoice lines out: Decimal throughout, no clock, no files, no imports from outside."""
