"""Turns records into batches and gets them to a server or a directory."""
