"""Questions to a Metercast server from Python, with nothing but the standard library.

from metercast.client import Client

metercast = Client("http://127.0.0.1:8000")
metercast.estimate("acme", plans=["per-request"]).bills[0].median
"""

from metercast.client.answers import Bill, Estimate, Table
from metercast.client.platform import Client
from metercast.client.transport import ProblemError, UnreachableError

__all__ = ["Bill", "Client", "Estimate", "ProblemError", "Table", "UnreachableError"]
