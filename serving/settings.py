"""What a server is told at its start: one table of settings, from options, environment, file and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from features.database import Location, is_server
from serving.ingest.privacy import Privacy

PREFIX = "METERCAST_"


class Settings(BaseModel):
    """Settings of one server process; ``windows_s`` are the lengths kept, each a multiple of the shortest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Field(Path("metercast-data"), description="data directory; made where it is missing")
    database_url: str | None = Field(
        None,
        description="`postgresql://...`: log, state and all else there; several servers may share it",
    )
    plans: Path = Field(Path("configs/plans"), description="directory of price plans")
    host: str = Field("127.0.0.1", description="address to listen on; other than loopback only once keys exist")
    port: int = Field(8000, ge=0, le=65_535, description="port to listen on, 0 for a free one")
    windows_s: tuple[int, ...] = Field((1, 10, 60, 3600), description="lengths of the windows kept, in seconds")
    lateness_s: float = Field(2.0, ge=0, description="how late events may be before their windows close")
    detect_window_s: int = Field(1, ge=1, description="length of the windows that are searched for anomalies")
    forget_after_days: int = Field(
        92, ge=8, description="days without any usage after which what detection learnt of a series is forgotten"
    )
    default_plan: str = Field("micro-operations", description="plan of users and questions that name none")
    requests_per_minute: int = Field(6_000, ge=1, description="limit of requests with one key, those with events aside")
    streams: int = Field(200, ge=1, description="limit of listeners of /v1/live")
    tls_certificate: Path | None = Field(None, description="PEM file; serves HTTPS")
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key")
    pseudonym_keys: Path | None = Field(
        None, description="file of `metercast pseudonyms rotate FILE`; userIDs are kept as pseudonyms made with it"
    )
    pseudonym_map: Path | None = Field(
        None, description="who stands behind which pseudonym (default: `identities.db` in the data directory)"
    )
    never_stored: tuple[str, ...] = Field(
        (), description="fields emptied before anything is kept: `executionID`, `parentExecutionID`, `source`"
    )
    min_group: int = Field(5, ge=1, description="users an operation needs before a tenant hears of them as a group")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP address for OpenTelemetry traces of requests")
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="`info` logs every request")

    @field_validator("windows_s", "never_stored", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        """A list may be given as text, as the environment can hold nothing else."""
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("never_stored")
    @classmethod
    def _optional(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Privacy(None, value)
        return value

    @field_validator("database_url")
    @classmethod
    def _server(cls, value: str | None) -> str | None:
        if value is not None:
            is_server(value)
        return value

    @field_validator("windows_s")
    @classmethod
    def _multiples(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        value = tuple(sorted(set(value)))
        if not value or value[0] < 1 or any(length % value[0] for length in value):
            raise ValueError(f"window lengths {value} must be positive multiples of the shortest")
        return value

    @property
    def database(self) -> Location:
        """Where the tables live: the server that was named, or the file inside the data directory."""
        return self.database_url or self.data / "metercast.db"


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that METERCAST_DATA, METERCAST_PORT and so on give, unchecked."""
    named = {name: environment.get(PREFIX + name.upper()) for name in Settings.model_fields}
    return {name: value for name, value in named.items() if value}


def table() -> str:
    """All settings as a table in Markdown, as the README of this room has it."""
    rows = ["| setting | environment | default | what |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_text(field.default)}`"
        rows.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
