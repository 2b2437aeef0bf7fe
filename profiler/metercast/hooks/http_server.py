"""Opens an operation for every request of the standard library's HTTP server."""

from __future__ import annotations

from metercast.operations import operation
from metercast.routes import route_of_path, served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(server: ModuleType, engine: Engine) -> None:
    """Wrap `BaseHTTPRequestHandler.parse_request`: the handler's ``do_X`` then runs inside an operation."""
    handler = server.BaseHTTPRequestHandler
    parse = handler.parse_request

    def parsing(self: Any) -> bool:
        parsed: bool = parse(self)
        method = getattr(self, f"do_{self.command}", None) if parsed else None
        if method is None:
            return parsed
        name = f"{self.command} {route_of_path(self.path)}"
        user = next(filter(None, map(self.headers.get, engine.user_headers)), "")

        def do() -> None:
            delattr(self, f"do_{self.command}")
            with operation(name, user):
                token = served.set(engine.current.get())
                try:
                    method()
                    self.wfile.flush()
                finally:
                    served.reset(token)

        setattr(self, f"do_{self.command}", do)
        return parsed

    parsing.__name__, parsing.__doc__ = parse.__name__, parse.__doc__
    handler.parse_request = parsing
