"""Are these requirements really installed here? Runs inside an environment, and prints one JSON object.

`pip` calls a package installed when its metadata folder exists, which a killed `pip` leaves behind too. So
every requirement is followed through its dependencies, and each recorded file must be there in full size.

    python verify.py REQUIREMENT ...
"""

import csv
import json
import sys
from importlib import metadata

from pip._vendor.packaging.requirements import InvalidRequirement, Requirement


def damage(dist: metadata.Distribution) -> str | None:
    """What is wrong with the files of an installed package; None when all that it recorded are whole."""
    record = dist.read_text("RECORD")
    if dist.metadata["Name"] is None:
        return "its METADATA is empty"
    if record is None:  # other installers may keep their records elsewhere; pip writes both files last
        return None if dist.read_text("INSTALLER") else "its installation was not finished"
    for row in csv.reader(record.splitlines()):
        if len(row) != 3 or row[0].endswith(".pyc"):
            continue
        try:
            size = dist.locate_file(row[0]).stat().st_size
        except OSError:
            return f"its file {row[0]} is missing"
        if row[2] and size != int(row[2]):
            return f"its file {row[0]} has {size} bytes instead of {row[2]}"
    return None


def dependencies(dist: metadata.Distribution, extras: set[str]) -> list[Requirement]:
    """The requirements of a package that apply to this machine and to the asked extras."""
    found = []
    for text in dist.requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            found.append(requirement)
    return found


def inspect(requirements: list[str]) -> dict:
    """Follow the requirements: {"problems": sentences, "damaged": metadata folders of broken packages}."""
    problems, damaged, seen = [], [], set()
    waiting = []
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # a path or a URL: only pip can say
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            waiting.append((requirement, "asked for"))
    while waiting:
        requirement, reason = waiting.pop()
        key = (
            requirement.name.lower().replace("_", "-"),
            str(requirement.specifier),
            *sorted(requirement.extras),
        )
        if key in seen:
            continue
        seen.add(key)
        try:
            dist = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is not installed ({reason})")
            continue
        wrong = damage(dist)
        if wrong:
            problems.append(f"{requirement.name} is damaged: {wrong}")
            damaged.append(str(getattr(dist, "_path", "")))
            continue
        if not requirement.specifier.contains(dist.version, prereleases=True):
            problems.append(
                f"{requirement.name} is {dist.version}, but {requirement.specifier} is needed ({reason})"
            )
        needs = dependencies(dist, set(requirement.extras))
        waiting += [(need, f"needed by {requirement.name}") for need in needs]
    return {"problems": problems, "damaged": sorted(set(damaged))}


def main(arguments: list[str]) -> None:
    """Print the inspection of the requirements given on the command line."""
    print(json.dumps(inspect(arguments)))


if __name__ == "__main__":
    main(sys.argv[1:])
