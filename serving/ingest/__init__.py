"""The way in: bodies are decoded, checked and committed before they are acknowledged."""
