"""Every metric of `/metrics`: `python -m aerostack_realtime.gateway.http.metrics_list` prints their reference."""

from typing import Final, Literal

from msgspec import Struct

PREFIX: Final = "aerostack_"

MetricType = Literal["counter", "gauge", "histogram", "info"]


class Described(Struct, frozen=True):
    """A metric: its type, its meaning, and its labels with the values that they take."""

    kind: MetricType
    help: str
    labels: dict[str, str] = {}


_RULE: Final = "the pattern of a `[[channels]]` rule, the name of a `[[tables]]` rule, or `none`"
_STREAM: Final = {"rule": _RULE, "kind": "`event`, `change`"}
_CODE: Final = "an error code of [protocol.md §7](../protocol.md)"

METRICS: Final[dict[str, Described]] = {
    "build": Described(
        "info",
        "What runs",
        {
            "version": "of Aerostack Realtime",
            "python": "of the interpreter",
            "writes": "how frames are written: `io_uring`, `send` or `transport`",
        },
    ),
    "connections": Described("gauge", "WebSocket connections now"),
    "connections_opened": Described("counter", "WebSocket connections that were accepted"),
    "connections_refused": Described("counter", "WebSocket connections that were refused", {"code": _CODE}),
    "connections_closed": Described(
        "counter",
        "WebSocket connections that ended",
        {"code": "a close code of [protocol.md §7](../protocol.md), 1000, 1006 for a lost connection, or `other`"},
    ),
    "sockets_refused": Described("counter", "Sockets that were closed at once because there were too many"),
    "authentication_failures": Described(
        "counter",
        "Credentials that were refused",
        {"where": "`connect`, `auth` (the command) or `http`"},
    ),
    "secret_key_calls": Described(
        "counter", "HTTP calls with a secret key", {"key": "the fingerprint of the key, as in the audit log"}
    ),
    "subscriptions": Described("gauge", "Subscriptions now"),
    "channels": Described("gauge", "Channels with subscribers now", {"kind": "`custom`, `table`"}),
    "members": Described("gauge", "Members who are present now, in all channels of the cluster"),
    "commands": Described("counter", "Commands that clients sent", {"type": "`publish`, `subscribe` and so on"}),
    "errors": Described("counter", "Errors that clients were answered with", {"code": _CODE}),
    "events": Described(
        "counter",
        "Events and row changes on channels",
        {"rule": _RULE, "kind": "`event`, `presence`, `change` (of a table with subscribers)"},
    ),
    "deliveries": Described(
        "counter",
        "Events and row changes handed to subscribers: one event to ten subscribers is ten",
        {"rule": _RULE, "kind": "`event`, `presence`, `change`"},
    ),
    "received_bytes": Described("counter", "Bytes of commands, without WebSocket headers"),
    "sent_bytes": Described(
        "counter",
        "Bytes written to WebSockets, with their headers",
        {"rule": _RULE, "kind": "`event` (with presence), `change`, `reply` (to one connection)"},
    ),
    "acks": Described("counter", "Acknowledged publishes"),
    "resumes": Described(
        "counter",
        "Subscriptions that continued from a cursor",
        {**_STREAM, "source": "`log` (memory), `database` (stored messages, change log), `gap` (not complete)"},
    ),
    "gaps": Described(
        "counter",
        "Gaps that clients were sent",
        {**_STREAM, "reason": "`not_recovered`, `interrupted`, `dropped`: see [protocol.md §5](../protocol.md)"},
    ),
    "slow_consumers": Described(
        "counter",
        "How often a subscriber became slow",
        {**_STREAM, "policy": "`resume` (served from the log, or closed with 4000), `latest`, `drop`"},
    ),
    "channel_log_bytes": Described("gauge", "Bytes of the events that are kept in memory for clients that resume"),
    "channel_log_evictions": Described("counter", "Events that were removed from there because of `log_bytes`"),
    "database_up": Described("gauge", "1 if the database answers and row changes are received, else 0"),
    "change_feed_lag_changes": Described("gauge", "SQLite: committed row changes that are not delivered yet"),
    "change_log_changes": Described("gauge", "SQLite: row changes that the change log keeps"),
    "change_feed_lag_bytes": Described("gauge", "PostgreSQL: bytes of WAL that the server has not read yet"),
    "replication_slot_lag_bytes": Described("gauge", "PostgreSQL: bytes of WAL that the slot has not confirmed"),
    "retained_wal_bytes": Described("gauge", "PostgreSQL: bytes of WAL that are retained for the slot"),
    "journal_lag_seconds": Described(
        "gauge",
        "How old the newest item is that this node has read: at most about 1 on a live cluster, 0 on one node",
    ),
    "journal_generation": Described("gauge", "Redis: the generation of the journal; 0 without a connection"),
    "journal_backlog_bytes": Described("gauge", "Redis: bytes that were accepted and not read back yet"),
    "journal_batches": Described("counter", "Redis: batches that were appended"),
    "journal_batch_bytes": Described("counter", "Redis: bytes of these batches; divided by them, their size"),
    "publish_ack_seconds": Described(
        "histogram", "From a publish to its acknowledgement", {"persist": "`true`, `false`"}
    ),
    "change_delivery_seconds": Described(
        "histogram", "From a row change, by its writer's clock, to its delivery (commit → sent)"
    ),
    "snapshot_seconds": Described("histogram", "Duration of a snapshot, until its last row is sent"),
    "history_page_seconds": Described("histogram", "Reading one page of stored messages"),
    "compaction_seconds": Described(
        "histogram", "Compacting one document, from reading its messages to the commit"
    ),
    "compaction_bytes": Described(
        "counter",
        "Bytes of the messages that compactions of documents replaced, and of those that they stored",
        {"kind": "`replaced`, `stored`"},
    ),
    "unreadable_documents": Described(
        "counter", "Documents that cannot be read: they are kept, and not compacted"
    ),
    "http_request_seconds": Described(
        "histogram",
        "Duration of an HTTP call",
        {
            "method": "`GET`, `POST`, `OPTIONS`, `other`",
            "route": "the pattern of its path, or `none`",
            "status": "",
        },
    ),
    "event_loop_lag_seconds": Described("histogram", "How late the event loop calls a timer, four times a second"),
}

_HEAD: Final = """# Metrics

<!-- Generated by `make reference` from src/aerostack_realtime/gateway/http/metrics_list.py; do not edit. -->

`GET /metrics` answers in the Prometheus text format or, if `Accept` asks for it, as OpenMetrics. It needs the
secret key, unless `metrics_port` gives it a [port of its own](settings.md):

```toml
metrics_host = "10.0.0.5"
metrics_port = 9187
```

```yaml
scrape_configs:
  - job_name: aerostack
    static_configs: [{ targets: ["10.0.0.5:9187"] }]
```

With the secret key instead, the target is the server's own address and `authorization: { credentials_file: … }`
names the file that contains the key.

No label has a value that a client chooses. A channel appears as the rule that decides about it, never as its
topic.
Counters start at 0 with the process. A label value appears when it is first counted. The metrics of the process
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds`, …) come from the Prometheus
client library.

`deploy/grafana/aerostack.json` is a board and `deploy/prometheus/alerts.yml` the alerts; each alert has a
[runbook](../runbooks/README.md).

| metric | type | meaning | labels |
|---|---|---|---|
"""


def exposed(name: str, kind: MetricType) -> str:
    """The name as queries use it."""
    return PREFIX + name + {"counter": "_total", "info": "_info"}.get(kind, "")


def markdown() -> str:
    """The text of `docs/reference/metrics.md`."""
    rows = []
    for name, each in METRICS.items():
        labels = "; ".join(
            f"`{label}`: {values}" if values else f"`{label}`" for label, values in each.labels.items()
        )
        rows.append(f"| `{exposed(name, each.kind)}` | {each.kind} | {each.help} | {labels} |\n")
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    print(markdown(), end="")  # noqa: T201 - it is a program
