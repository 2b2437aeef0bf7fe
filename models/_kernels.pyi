from typing import Any

def weighted_quantiles(
    bins: Any, points: Any, weights: Any, levels: Any, out: Any, series: int, width: int, kinds: int, bin_count: int, /
) -> None: ...
def mixture(
    parts: tuple[Any, ...], places: Any, weights: Any, out: Any, series: int, members: int, horizon: int, levels: int, /
) -> None: ...
def path_values(
    steps: Any,
    levels: Any,
    tenant: Any,
    own_level: Any,
    tenant_level: Any,
    own_noise: Any,
    tenant_noise: Any,
    out: Any,
    count: int,
    series: int,
    tenants: int,
    horizon: int,
    level: float,
    memory: float,
    common: float,
    /,
) -> None: ...
def pinball_sums(forecasts: Any, actual: Any, levels: Any, out: Any, series: int, horizon: int, /) -> None: ...
def point_quantiles(
    values: Any,
    kinds: Any,
    moving: Any,
    still: Any,
    levels: Any,
    out: Any,
    series: int,
    points: int,
    horizon: int,
    states: int,
    share: float,
    /,
) -> None: ...
def tidy(quantiles: Any, rows: int, size: int, /) -> None: ...
def chains(
    last: Any,
    seasonal: Any,
    phase: Any,
    at: Any,
    weights: Any,
    belief: Any,
    known: Any,
    out: Any,
    series: int,
    states: int,
    season: int,
    horizon: int,
    lag: int,
    /,
) -> None: ...
def asinh(values: Any, out: Any, rows: int, width: int, count: int, /) -> None: ...
def gelu(values: Any, offset: Any, groups: int, rows: int, size: int, /) -> None: ...
def lstm_cell(
    gates: Any,
    bias: Any,
    state: Any,
    line: Any,
    step: int,
    steps: int,
    rows: int,
    inputs: int,
    size: int,
    /,
) -> None: ...
def quantile_heads(
    raw: Any,
    guesses: Any,
    scores: Any,
    out: Any,
    rows: int,
    width: int,
    guess_count: int,
    stride: int,
    tailed: bool,
    /,
) -> None: ...
def unscaled(values: Any, scale: Any, level: Any, out: Any, series: int, rows: int, size: int, /) -> None: ...

# Arrays, then sizes, most of which come from shapes; each checks what it is given.
def binned(*arrays_and_sizes: Any) -> None: ...
def normalised(*arrays_and_sizes: Any) -> None: ...
def guesses(*arrays_and_sizes: Any) -> None: ...
def on_scale(*arrays_and_sizes: Any) -> None: ...
def add_normal(*arrays_and_sizes: Any) -> None: ...
def standing(*arrays_and_sizes: Any) -> None: ...
def unusual(*arrays_and_sizes: Any) -> None: ...
def states_of(*arrays_and_sizes: Any) -> None: ...
def state_chances(*arrays_and_sizes: Any) -> None: ...
def with_regime(*arrays_and_sizes: Any) -> None: ...
def total_quantiles(*arrays_and_sizes: Any) -> None: ...
def level_opinions(*arrays_and_sizes: Any) -> None: ...
def missed_sums(*arrays_and_sizes: Any) -> None: ...
