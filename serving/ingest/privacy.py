"""What is taken out of a batch before anything is kept of it: names become pseudonyms, unwanted fields become empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from metercast.event import FIELDS

from features.contracts import Batch
from features.database import Location
from features.schema import ARROW_SCHEMA
from serving.access.pseudonyms import Pseudonyms

OPTIONAL_FIELDS = ("executionID", "parentExecutionID", "source")
"""Fields that no window and no bill needs: those that may be left out."""

_COLUMNS = {json_name: name for json_name, name, _ in FIELDS}


class Privacy:
    """Applies one server's rules to batches."""

    def __init__(self, pseudonyms: Pseudonyms | None = None, never_stored: Sequence[str] = ()) -> None:
        """``never_stored`` are names of `OPTIONAL_FIELDS`; raises ValueError for others."""
        unknown = [name for name in never_stored if name not in OPTIONAL_FIELDS]
        if unknown:
            raise ValueError(f"field {unknown[0]!r:.40} cannot be left out; one of {', '.join(OPTIONAL_FIELDS)}")
        self.pseudonyms = pseudonyms
        self._emptied = tuple(_COLUMNS[name] for name in never_stored)

    def applied(self, batch: Batch) -> Batch:
        """The batch as it may be kept."""
        rows = batch.rows
        for name in self._emptied:
            kind = ARROW_SCHEMA.field(name).type
            empty = pa.repeat(pa.scalar("" if kind == pa.string() else 0, kind), rows.num_rows)
            rows = rows.set_column(ARROW_SCHEMA.get_field_index(name), ARROW_SCHEMA.field(name), empty)
        if self.pseudonyms is not None and rows.num_rows:
            users = rows["user_id"].dictionary_encode()
            names = pa.array(self.pseudonyms.of(users.dictionary.to_pylist()), pa.string())
            column = pa.DictionaryArray.from_arrays(users.indices, names).cast(pa.string())
            rows = rows.set_column(ARROW_SCHEMA.get_field_index("user_id"), ARROW_SCHEMA.field("user_id"), column)
        return batch if rows is batch.rows else replace(batch, rows=rows)

    def seen_as(self, user: str) -> str:
        """The name under which a user's data are kept."""
        return user if self.pseudonyms is None else self.pseudonyms.of([user])[0]

    def close(self) -> None:
        """Release the mapping."""
        if self.pseudonyms is not None:
            self.pseudonyms.mapping.close()


def privacy_of(keys: Path | None, mapping: Location, never_stored: Sequence[str]) -> Privacy:
    """The rules of a server's settings; raises PseudonymKeyError or ValueError."""
    return Privacy(Pseudonyms(keys, mapping) if keys is not None else None, never_stored)
