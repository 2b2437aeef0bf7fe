"""The wire form of a metered micro-operation: field names, types and the JSON that producers and readers share."""

MICRO_OPERATION_TYPES = (
    "CPU_INSTRUCTION",
    "MEMORY_READ",
    "MEMORY_WRITE",
    "MEMORY_ALLOC",
    "NETWORK_SEND",
    "NETWORK_RECEIVE",
    "DISK_READ",
    "DISK_WRITE",
    "WAIT",
    "GPU_COMPUTE",
    "CUSTOM",
    "UNATTRIBUTED",
    "PROFILER_SELF",
)
"""The closed set of micro-operation types, in the order of their codes."""

# (JSON name, Arrow name, kind): the one table that every reader and writer of events follows, in column order.
FIELDS = (
    ("timestamp", "timestamp", "timestamp_ns"),
    ("operationID", "operation_id", "string"),
    ("microOperationType", "micro_operation_type", "enum"),
    ("cpuCycles", "cpu_cycles", "count"),
    ("memoryBytes", "memory_bytes", "count"),
    ("networkBytes", "network_bytes", "count"),
    ("diskBytes", "disk_bytes", "count"),
    ("executionTimeMs", "execution_time_ms", "amount"),
    ("userID", "user_id", "string"),
    ("executionID", "execution_id", "int64"),
    ("parentExecutionID", "parent_execution_id", "int64"),
    ("units", "units", "amount"),
    ("meter", "meter", "string"),
    ("source", "source", "string"),
    ("producer", "producer", "string"),
    ("epoch", "epoch", "int64"),
    ("sequence", "sequence", "int64"),
)
"""Every field of an event; the five resource fields stand inside `resourceUsage` in JSON and flat in Arrow."""

RESOURCE_FIELDS = ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes", "executionTimeMs")
"""The members of `resourceUsage`, all >= 0; the first four are integers."""

BATCH_MEDIA_TYPE = "application/vnd.metercast.batch+json"
"""Content type of a batch as JSON: {"producer", "epoch", "sequence", "events": [...]}, one batch a body."""

COLUMNS_MEDIA_TYPE = "application/vnd.metercast.columns"
"""Content type of a batch as columns, which the profiler sends to servers; see `metercast.shipping.columns`."""

COLUMNS_MAGIC = b"MCB1"
NAME_FIELDS = ("userID", "operationID", "meter", "source")
"""Texts of the columnar form: a row has the number of each, the header has the texts."""
COLUMNS = (
    *NAME_FIELDS,
    "microOperationType",
    "timestamp",
    *RESOURCE_FIELDS,
    "units",
    "executionID",
    "parentExecutionID",
)
"""Columns of the columnar form, in their order; types are their codes, timestamps Unix nanoseconds."""
