"""Builds a kustomization as `kubectl kustomize` does, as far as infra/k8s goes, and refuses what it doesn't know.

Its ConfigMaps keep their names, where kustomize adds a hash of what is in them.
"""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

Object = dict[str, Any]

KNOWN = {
    *("apiVersion", "kind", "namespace", "resources", "images", "replicas"),
    *("configMapGenerator", "patches", "replacements"),
}
CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Object]:
    """All objects. Raises ValueError for what it can't build."""
    made: Object = yaml.safe_load((folder / "kustomization.yaml").read_text())
    _only(made, KNOWN)
    objects = list(_resources(folder, made.get("resources", [])))
    for generator in made.get("configMapGenerator", []):
        _generate(folder, generator, objects)
    for patch in made.get("patches", []):
        _only(patch, {"path", "target"})
        _only(patch["target"], {"kind", "name", "labelSelector"})
        steps = yaml.safe_load((folder / patch["path"]).read_text())
        for one in objects:
            if _matches(one, patch["target"]):
                _patch(one, steps)
    for count in made.get("replicas", []):
        (one,) = [each for each in objects if _id(each) == ("Deployment", count["name"])]
        one["spec"]["replicas"] = count["count"]
    for one in objects:
        if "namespace" in made and one["kind"] not in CLUSTER_WIDE:
            one["metadata"]["namespace"] = made["namespace"]
        for container in containers(one):
            container["image"] = _image(container["image"], made.get("images", []))
    for replacement in made.get("replacements", []):
        _replace(objects, replacement)
    return objects


def containers(one: Object) -> list[Object]:
    """Of a Deployment or Job; others have none."""
    found: list[Object] = (
        one.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    )
    return found


def _resources(folder: Path, names: list[str]) -> Iterator[Object]:
    for name in names:
        path = folder / name
        if path.is_dir():
            yield from build(path)
        else:
            yield from yaml.load_all(path.read_text(), Loader=yaml.CSafeLoader)


def _generate(folder: Path, generator: Object, objects: list[Object]) -> None:
    _only(generator, {"name", "envs", "files", "behavior", "options"})
    data: dict[str, str] = {}
    for name in generator.get("files", []):
        data[name] = (folder / name).read_text()
    for name in generator.get("envs", []):
        lines = (line.strip() for line in (folder / name).read_text().splitlines())
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        data.update({key: value for key, _, value in pairs})
    if generator.get("behavior") == "merge":
        (there,) = [each for each in objects if _id(each) == ("ConfigMap", generator["name"])]
        there["data"].update(data)
        return
    metadata: Object = {"name": generator["name"]}
    options = generator.get("options", {})
    _only(options, {"labels"})
    objects.append(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, **options}, "data": data}
    )


def _matches(one: Object, target: Mapping[str, str]) -> bool:
    labels = one["metadata"].get("labels", {})
    label, equals, value = target.get("labelSelector", "").partition("=")
    return (
        target.get("kind", one["kind"]) == one["kind"]
        and target.get("name", one["metadata"]["name"]) == one["metadata"]["name"]
        and (not label or (label in labels and (not equals or labels[label] == value)))
    )


def _patch(one: Object, steps: list[Object]) -> None:
    """RFC 6902: `add` and `replace` of members."""
    for step in steps:
        *way, last = [
            part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
        ]
        place = _at(one, way)
        known = isinstance(place, dict) and step["op"] in {"add", "replace"}
        if not known or (step["op"] == "replace" and last not in place):
            raise ValueError(f"can't {step['op']} {step['path']} of {_id(one)}")
        place[last] = copy.deepcopy(step["value"])


def _replace(objects: list[Object], replacement: Object) -> None:
    """One value of one object, as a part of texts of others."""
    _only(replacement, {"source", "targets"})
    source = replacement["source"]
    _only(source, {"kind", "fieldPath"})
    (one,) = [each for each in objects if each["kind"] == source["kind"]]
    value = str(_at(one, source["fieldPath"].split(".")))
    for target in replacement["targets"]:
        _only(target, {"select", "fieldPaths", "options"})
        _only(target["select"], {"kind"})
        _only(target["options"], {"delimiter", "index"})
        mark, index = target["options"]["delimiter"], target["options"]["index"]
        for each in objects:
            if each["kind"] == target["select"]["kind"]:
                for path in target["fieldPaths"]:
                    *way, last = path.split(".")
                    place = _at(each, way)
                    parts = place[last].split(mark)
                    parts[index] = value
                    place[last] = mark.join(parts)


def _at(one: Any, way: list[str]) -> Any:
    for part in way:
        one = one[int(part)] if isinstance(one, list) else one[part]
    return one


def _image(name: str, images: list[Object]) -> str:
    for image in images:
        if image["name"] == name:
            _only(image, {"name", "newName", "newTag", "digest"})
            by = f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
            return f"{image['newName']}{by}"
    return name


def _id(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["name"]


def _only(given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known:
        raise ValueError(f"not supported here: {', '.join(sorted(unknown))}")
