"""The description of the HTTP calls, as OpenAPI 3.1, served at /openapi.json."""

from typing import Any, Final

_TOPIC: Final = {"type": "string", "examples": ["chat/general", "orders"]}
_ROW: Final = {"type": "object", "description": "Column names to values (docs/protocol.md §4, Row changes)."}
_CURSOR: Final = {"type": "string", "description": "Opaque: a place in a log."}
_ID: Final = {"type": "string", "description": "Made by the publisher; a repeat is accepted once."}


def description(version: str) -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aerostack Realtime",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "The HTTP side of the server; channels themselves are WebSocket, at /api/realtime.",
        },
        "security": [{"key": []}, {"bearer": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-Aerostack-Key"},
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A user's JWT or a secret key.",
                },
            },
            "schemas": _schemas(),
        },
    }


def _paths() -> dict[str, Any]:
    return {
        "/api/v1/public/realtime/history": {
            "get": _call(
                "history",
                "Persisted messages of a topic, newest first",
                _object({"messages": _list("HistoryMessage")}),
                parameters=[
                    _query("room", _TOPIC, required=True),
                    _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}),
                    _query(
                        "before",
                        {
                            "type": "integer",
                            "format": "int64",
                            "description": "A created_at: only older ones.",
                        },
                    ),
                ],
            )
        },
        "/api/v1/realtime/publish": {
            "post": _call(
                "publish",
                "Publish one event, or a list of up to 100",
                {"oneOf": [_ref("Published"), _object({"results": {"type": "array"}})]},
                body={"oneOf": [_ref("Publish"), {**_list("Publish"), "maxItems": 100}]},
            )
        },
        **_stream_paths(),
        "/api/v1/realtime/presence": {
            "get": _call(
                "presence",
                "Members present on a topic",
                _object({"members": _list("Member")}),
                parameters=[_query("topic", _TOPIC, required=True)],
            )
        },
        "/api/v1/realtime/channels": {
            "get": _call(
                "channels",
                "Topics with their subscribers and members (secret key)",
                _object({"channels": _list("Channel")}),
            )
        },
        "/api/v1/realtime/explain": {
            "get": _call(
                "explain",
                "Why a user did or did not receive an event or a row change (secret key)",
                _ref("Explanation"),
                parameters=[
                    _query("topic", _TOPIC),
                    _query("user", {"type": "string"}),
                    _query("event", {"type": "string", "description": "The id of an event."}),
                    _query("row", {"type": "string", "description": "A key (7), or column=value."}),
                    _query(
                        "access", {"enum": ["subscribe", "publish", "presence", "history", "cancel", "compact"]}
                    ),
                    _query("connection", {"type": "string", "description": "The id of a connection."}),
                ],
            )
        },
        "/api/v1/realtime/disconnect": {
            "post": _call(
                "disconnect",
                "Close a user's connections (secret key)",
                _object({"closed": {"type": "integer"}}),
                body=_object({"userId": {"type": "string"}}),
            )
        },
        "/api/v1/realtime/revoke": {
            "post": _call(
                "revoke",
                "Revoke a token, or all tokens issued to a user until now (secret key)",
                _object({"closed": {"type": "integer"}}),
                body={
                    "oneOf": [
                        _object({"userId": {"type": "string"}}),
                        _object({"tokenId": {"type": "string", "description": "A token's jti."}}),
                    ]
                },
            )
        },
        "/api/v1/realtime/reload": {
            "post": _call(
                "reload",
                "Read the settings again and apply them: all or nothing (secret key)",
                _object(
                    {
                        "changed": {"type": "array", "items": {"type": "string"}},
                        "needsRestart": {"type": "array", "items": {"type": "string"}},
                    }
                ),
            )
        },
        "/api/v1/realtime/nodes": {
            "get": _call("nodes", "The live nodes of the cluster (secret key)", _object({"nodes": _list("Node")}))
        },
        "/api/v1/realtime/request": {
            "get": _call("request", "This request as it reached the server (secret key)", _ref("Received"))
        },
        "/v1/db/query": {
            "post": _call("query", "Run one SQL statement (secret key)", _ref("Result"), body=_ref("Query"))
        },
        "/v1/db/batch": {
            "post": _call(
                "batch",
                "Run up to 25 SQL statements in one transaction (secret key)",
                _object({"results": _list("BatchResult"), "success": {"type": "boolean"}, "cursor": _CURSOR}),
                body=_object({"queries": {**_list("Query"), "maxItems": 25}}),
            )
        },
        "/internal/hooks/rpc": {
            "post": _call(
                "call",
                "What the published server SDK sends (secret key)",
                _object({"result": {}}),
                body=_object(
                    {
                        "method": {"enum": ["socket.emit", "db.query"]},
                        "args": {"type": "array", "description": "[event, data, topic] or [sql, params]"},
                    }
                ),
            )
        },
        "/healthz": {"get": _call("healthy", "Whether the process runs", _ref("Health"), open_to_all=True)},
        "/readyz": {
            "get": _call(
                "ready",
                "Whether it can serve, and which part cannot; 503 if it cannot",
                _object(
                    {
                        "status": {"enum": ["ready", "not ready"]},
                        "version": {"type": "string"},
                        "parts": {"type": "object", "description": "Each part: `ready`, or a sentence."},
                    }
                ),
                open_to_all=True,
            )
        },
    }


def _stream_paths() -> dict[str, Any]:
    id = {"type": "string", "description": "The id of the stream, which its writer chooses."}
    state = {"enum": ["complete", "cancelled", "failed"]}
    named = {"topic": _TOPIC, "id": id}
    opening = {**named, "event": {"type": "string"}, "data": {}, "persist": {"type": "boolean", "default": False}}
    count = {"type": "integer", "minimum": 0, "description": "How many pieces this writer has appended before."}
    piece = {**named, "n": count, "data": {}, "state": state}
    calls = {
        "": ("openStream", "Open a stream, or learn how far it is", _object(opening, ["topic", "event"])),
        "/append": ("appendToStream", "Append a piece, end the stream, or both", _object(piece, [*named, "n"])),
        "/finish": ("finishStream", "End a stream", _object({**named, "state": state}, [*named])),
        "/cancel": ("cancelStream", "Cancel a stream", _object({**named, "reason": {"type": "string"}}, [*named])),
    }
    return {
        f"/api/v1/realtime/streams{path}": {"post": _call(name, summary, _ref("StreamAck"), body=body)}
        for path, (name, summary, body) in calls.items()
    }


def _schemas() -> dict[str, Any]:
    return {
        "Publish": _object(
            {
                "topic": _TOPIC,
                "event": {"type": "string"},
                "data": {},
                "persist": {"type": "boolean", "default": False},
                "id": _ID,
                "traceparent": {"type": "string", "description": "W3C Trace Context, for subscribers."},
                "compacts": {**_CURSOR, "description": "Replaces the stored messages of the event up to here."},
            },
            required=["topic", "event"],
        ),
        "Published": _object(
            {
                "cursor": _CURSOR,
                "timestamp": {"type": "integer", "description": "ms since the Unix epoch"},
                "duplicate": {"type": "boolean"},
            },
            required=["cursor", "timestamp"],
        ),
        "StreamAck": _object(
            {
                "id": {"type": "string"},
                "cursor": _CURSOR,
                "timestamp": {"type": "integer", "description": "ms since the Unix epoch"},
                "n": {"type": "integer", "description": "How many pieces the stream has."},
                "state": {"enum": ["open", "complete", "cancelled", "failed"]},
                "duplicate": {"type": "boolean"},
            },
            required=["id", "cursor", "timestamp", "n", "state"],
        ),
        "Query": _object(
            {"sql": {"type": "string"}, "params": {"type": "array", "default": []}}, required=["sql"]
        ),
        "Result": _object(
            {
                "results": {"type": "array", "items": _ROW},
                "count": {"type": "integer"},
                "cursor": _CURSOR,
            }
        ),
        "BatchResult": _object(
            {
                "results": {"type": "array", "items": _ROW},
                "count": {"type": "integer"},
                "success": {"type": "boolean"},
            }
        ),
        "HistoryMessage": _object(
            {
                "id": {"type": "string"},
                "room_id": _TOPIC,
                "user_id": {"type": "string"},
                "event": {"type": "string"},
                "data": {},
                "created_at": {"type": "integer", "format": "int64"},
                "n": {"type": "integer", "description": "Of a stream: how many pieces it has."},
                "state": {"enum": ["open", "complete", "cancelled", "failed"], "description": "Of a stream."},
            },
            required=["id", "room_id", "user_id", "event", "data", "created_at"],
        ),
        "Member": _object(
            {
                "userId": {"type": "string"},
                "state": {"type": "object"},
                "since": {"type": "integer"},
                "connectionId": {"type": "string"},
            },
            required=["userId", "state", "since"],
        ),
        "Channel": _object({"topic": _TOPIC, "subscribers": {"type": "integer"}, "members": {"type": "integer"}}),
        "Node": _object(
            {
                "node": {"type": "string"},
                "name": {"type": "string"},
                "version": {"type": "string"},
                "connections": {"type": "integer"},
                "lagMs": {"type": "number"},
                "generation": {"type": ["string", "null"]},
                "keeper": {"type": "boolean"},
            }
        ),
        "Received": _object(
            {
                "path": {"type": "string"},
                "host": {"type": ["string", "null"]},
                "origin": {"type": ["string", "null"]},
                "peer": {"type": ["string", "null"], "description": "The other end of the connection."},
                "peerPort": {"type": ["integer", "null"]},
                "client": {"type": "string", "description": "The address that limits count."},
                "trusted": {"type": "boolean", "description": "Whether the peer is a trusted proxy."},
                "secure": {"type": "boolean", "description": "Whether the client used TLS."},
                "forwardedFor": {"type": "array", "items": {"type": "string"}},
                "forwardedProto": {"type": ["string", "null"]},
                "requestId": {"type": ["string", "null"], "description": "From `X-Request-ID`."},
            }
        ),
        "Explanation": _object(
            {
                "verdict": {"type": "string", "description": "One sentence."},
                "code": {"type": "string", "description": "See docs/guides/explain.md."},
                "findings": {
                    "type": "array",
                    "items": _object(
                        {"code": {"type": "string"}, "sentence": {"type": "string"}, "facts": {"type": "object"}}
                    ),
                },
                "setting": {"type": ["object", "null"], "description": "The setting that would change it."},
                "nodes": {"type": "array", "items": {"type": "string"}},
            }
        ),
        "Health": _object({"status": {"type": "string"}, "version": {"type": "string"}}),
        "Error": _object({"error": _object({"code": {"type": "string"}, "message": {"type": "string"}})}),
    }


def _call(
    name: str,
    summary: str,
    answer: dict[str, Any],
    *,
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    open_to_all: bool = False,
) -> dict[str, Any]:
    call: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": answer}}},
            "default": {
                "description": "An error with a code of docs/protocol.md §7.",
                "content": {"application/json": {"schema": _ref("Error")}},
            },
        },
    }
    if not open_to_all:
        call["responses"]["429"] = {
            "description": "More calls than the limits allow a user, or an address without one.",
            "headers": {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}},
            "content": {"application/json": {"schema": _ref("Error")}},
        }
    if parameters:
        call["parameters"] = parameters
    if body is not None:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if open_to_all:
        call["security"] = []
    return call


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or list(properties)}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
