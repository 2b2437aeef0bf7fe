"""What a server is told at its start."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Settings(BaseModel):
    """Settings of one server process; ``windows_s`` are the lengths kept, each a multiple of the shortest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path
    plans: Path = Path("configs/plans")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    windows_s: tuple[int, ...] = (1, 10, 60, 3600)
    lateness_s: float = Field(default=2.0, ge=0)
    detect_window_s: int = 1
    default_plan: str = "micro-operations"
    requests_per_minute: int = Field(default=6_000, ge=1)
    streams: int = Field(default=200, ge=1)
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @field_validator("windows_s")
    @classmethod
    def _multiples(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        value = tuple(sorted(set(value)))
        if not value or value[0] < 1 or any(length % value[0] for length in value):
            raise ValueError(f"window lengths {value} must be positive multiples of the shortest")
        return value

    @property
    def database(self) -> Path:
        """The database file inside the data directory."""
        return self.data / "metercast.db"
