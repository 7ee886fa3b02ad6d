"""Writes the JSON schemas that kubeconform reads: `python scripts/kubernetes_schemas.py SWAGGER DIRECTORY`.

SWAGGER is `api/openapi-spec/swagger.json` of the Go module k8s.io/kubernetes. Each kind becomes one strict schema,
`statefulset-apps-v1.json`: unknown fields are refused.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

_PREFIX: Final = "#/definitions/"
_SCALARS: Final = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
"""What the specification calls a string, though the API accepts a number as well."""


def main(swagger: Path, directory: Path) -> None:
    definitions = json.loads(swagger.read_text())["definitions"]
    strict = {name: _SCALARS.get(name) or _strict(definition) for name, definition in definitions.items()}
    directory.mkdir(parents=True, exist_ok=True)
    for definition in definitions.values():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            group = kind["group"].partition(".")[0]
            name = "-".join(part for part in (kind["kind"].lower(), group, kind["version"]) if part)
            (directory / f"{name}.json").write_text(json.dumps(_schema(_strict(definition), kind, strict)))


def _schema(root: dict[str, Any], kind: dict[str, str], definitions: dict[str, Any]) -> dict[str, Any]:
    """A schema of one kind, with the definitions that it refers to and their own."""
    needed: dict[str, Any] = {}
    waiting = _references(root)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = definitions[name]
            waiting |= _references(definitions[name])
    version = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
    fixed = {"apiVersion": {"const": version}, "kind": {"const": kind["kind"]}}
    required = sorted({*root.get("required", []), *fixed})
    return {**root, "required": required, "allOf": [{"properties": fixed}], "definitions": needed}


def _strict(definition: dict[str, Any]) -> dict[str, Any]:
    closed = {"additionalProperties": False} if "properties" in definition else {}
    return {**closed, **{key: value for key, value in definition.items() if not key.startswith("x-")}}


def _references(part: Any) -> set[str]:
    """The names of the definitions that a part of a schema refers to."""
    if isinstance(part, list):
        return set().union(*map(_references, part))
    if not isinstance(part, dict):
        return set()
    found = set().union(*map(_references, part.values()))
    reference = part.get("$ref")
    return found | {reference.removeprefix(_PREFIX)} if isinstance(reference, str) else found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
