"""Trains, backtests, tunes and promotes forecasters; meets serving in the model bundle, never in an import."""
