from typing import TypeAlias

Table: TypeAlias = tuple[tuple[str, str, bool, bool], ...]
Rules: TypeAlias = tuple[Table, int, tuple[str, ...], float, float]
Exported: TypeAlias = tuple[object, int]
_Key: TypeAlias = tuple[str, int, int]

def decode_json(body: bytes, start: int, rules: Rules, key: _Key, /) -> tuple[int, Exported] | None: ...
def check_rows(schema: object, array: object, rules: Rules, key: _Key, most_bytes: int, /) -> Exported | None: ...
