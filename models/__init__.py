"""Forecasters, detectors and what they need; imports nothing else of ours."""
