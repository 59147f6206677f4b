"""Describes the programs of the workspace and the crates in them, from `cargo metadata`.

    sbom.py programs                               the programs, one per line
    sbom.py version                                the workspace's version
    sbom.py sbom --target TRIPLE --time SECONDS    a bill of materials, CycloneDX 1.6 in JSON
    sbom.py licenses --target TRIPLE               the crates' licence and notice files, as one text

It lists the crates that are compiled into the programs of the workspace's default members, build
scripts and procedural macros included, tests' crates excluded. The same lock file gives the same
bytes. Needs Python 3.11 and nothing else.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
import tomllib
import uuid


def metadata(target=None):
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    command += ["--filter-platform", target] if target else ["--no-deps"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def default_members(data):
    members = set(data["workspace_default_members"])
    return sorted((p for p in data["packages"] if p["id"] in members), key=lambda p: p["name"])


def programs(data):
    targets = (target for package in default_members(data) for target in package["targets"])
    return sorted(target["name"] for target in targets if "bin" in target["kind"])


def built(members, target):
    """The name and version of each crate that the programs consist of.

    `cargo metadata` unites the features of the whole workspace, tests included; `cargo tree` does not.
    """
    command = ["cargo", "tree", "--locked", "--prefix", "none", "--edges", "normal,build", "--target", target]
    for package in members:
        command += ["--package", package["name"]]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    # "serde v1.0.228", "serde_derive v1.0.228 (proc-macro) (*)"
    words = (line.split() for line in output.splitlines() if line)
    return {(name, version.removeprefix("v")) for name, version, *_ in words}


def compiled(data, target):
    """The packages that the programs consist of, and the dependencies of each, by id."""
    names = built(default_members(data), target)
    packages = {p["id"]: p for p in data["packages"] if (p["name"], p["version"]) in names}
    edges = {}
    for node in data["resolve"]["nodes"]:
        if node["id"] in packages:
            edges[node["id"]] = [
                dep["pkg"]
                for dep in node["deps"]
                if dep["pkg"] in packages and any(kind["kind"] in (None, "build") for kind in dep["dep_kinds"])
            ]
    return packages, edges


def checksums(root):
    """The checksum of each crate of the registry, by name and version."""
    lock = tomllib.loads(pathlib.Path(root, "Cargo.lock").read_text())
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def reference(package):
    """A name that is unique in the document: the package URL, where the crate is published."""
    scheme = "pkg:cargo" if package["source"] else "poblysh-connectors"
    return f"{scheme}/{package['name']}@{package['version']}"


def expression(package):
    """The licence as an SPDX expression; old crates separate alternatives with a slash."""
    return (package["license"] or "").replace("/", " OR ")


def component(package, known):
    result = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
    }
    if package["source"]:
        result["purl"] = reference(package)
    if package["description"]:
        result["description"] = " ".join(package["description"].split())
    if package["license"]:
        result["licenses"] = [{"expression": expression(package)}]
    checksum = known.get((package["name"], package["version"]))
    if checksum:
        result["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        result["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return result


def sbom(target, time):
    data = metadata(target)
    packages, edges = compiled(data, target)
    members = default_members(data)
    version = members[0]["version"]
    known = checksums(data["workspace_root"])
    root = f"pkg:generic/poblysh-connectors@{version}"
    by_reference = sorted(packages.values(), key=reference)
    dependencies = [{"ref": root, "dependsOn": sorted(reference(member) for member in members)}]
    for package in by_reference:
        used = sorted(reference(packages[one]) for one in edges[package["id"]])
        dependencies.append({"ref": reference(package), "dependsOn": used})
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(time, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "poblysh-connectors",
                "version": version,
                "purl": root,
                "licenses": [{"expression": members[0]["license"]}],
                "properties": [
                    {"name": "poblysh:target", "value": target},
                    *({"name": "poblysh:program", "value": name} for name in programs(data)),
                ],
            },
        },
        "components": [component(package, known) for package in by_reference],
        "dependencies": dependencies,
    }
    content = json.dumps(document, sort_keys=True).encode()
    number = uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=5)
    document["serialNumber"] = f"urn:uuid:{number}"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def license_files(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    names = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE", "COPYRIGHT")
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name.upper().startswith(names) and path.suffix not in (".rs", ".toml")
    )


def licenses(target):
    """All texts, each once, below the crates that it belongs to."""
    packages, _ = compiled(metadata(target), target)
    texts, without = {}, []
    for package in sorted(packages.values(), key=reference):
        if package["source"] is None:
            continue
        name = f"{package['name']} {package['version']} ({expression(package)})"
        found = license_files(package)
        for path in found:
            text = path.read_text(errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(name)
        if not found:
            without.append(name)
    parts = ["The programs contain these crates, under these licences.\n"]
    for text, names in sorted(texts.items(), key=lambda item: item[1]):
        parts.append("-" * 100 + "\n" + "\n".join(dict.fromkeys(names)) + "\n\n" + text + "\n")
    if without:
        parts.append("-" * 100 + "\nWithout a licence file of their own:\n" + "\n".join(without) + "\n")
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description="Describes the programs of the workspace.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("programs")
    commands.add_parser("version")
    for name in ("sbom", "licenses"):
        command = commands.add_parser(name)
        command.add_argument("--target", required=True)
        if name == "sbom":
            command.add_argument("--time", type=int, required=True)
    arguments = parser.parse_args()
    match arguments.command:
        case "programs":
            print("\n".join(programs(metadata())))
        case "version":
            print(default_members(metadata())[0]["version"])
        case "sbom":
            sys.stdout.write(sbom(arguments.target, arguments.time))
        case "licenses":
            sys.stdout.write(licenses(arguments.target))


main()
