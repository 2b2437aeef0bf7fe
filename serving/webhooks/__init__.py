"""Webhooks: signed, retried, idempotent, with a log of deliveries."""
