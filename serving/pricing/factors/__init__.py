"""Factors on the list price at the time of an event: time of use, demand, service level, and quotes above them."""
