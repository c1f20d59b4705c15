"""Write the English locale from the nodes' schemas. Runs inside the environment.

    python -m devtools.make_locales [--check]

The schemas say every name and tooltip once; `locales/en/nodeDefs.json` is made from them, so that the two
cannot drift. `--check` writes nothing and fails where the file is not what would be written. Other languages
are written by hand, and a test compares their keys.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Iterable

from .pack import PACK, ROOT, import_host, register_pack

FILE = ROOT / "locales" / "en" / "nodeDefs.json"
AFTER_GENERATE = {
    "name": "control after generate",
    "tooltip": "What happens to the seed after a run: it stays, or counts up, or down, or is drawn anew.",
}


def words(entry) -> dict[str, str]:
    """Name and tooltip of an input or output of a schema."""
    return {"name": entry.display_name or entry.id, "tooltip": entry.tooltip}


def node_words(schema) -> dict:
    """What a person reads of one node, in the shape of ComfyUI's nodeDefs.json; outputs by their index.

    The editor adds a widget to a seed; it has an entry too.
    """
    inputs = {}
    for entry in schema.inputs:
        inputs[entry.id] = words(entry)
        if getattr(entry, "control_after_generate", None):
            inputs["control_after_generate"] = dict(AFTER_GENERATE)
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs,
        "outputs": {str(index): words(entry) for index, entry in enumerate(schema.outputs)},
    }


def english(schemas: Iterable) -> str:
    """The text of `locales/en/nodeDefs.json`."""
    found = {schema.node_id: node_words(schema) for schema in schemas}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or say whether it is what would be written."""
    parser = argparse.ArgumentParser(prog="devtools.make_locales", description="The English locale.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the file differs")
    options = parser.parse_args(arguments)
    register_pack()
    import_host()
    text = english(node.define_schema() for node in importlib.import_module(f"{PACK}.nodes").NODES)
    if options.check:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text
        print(f"{FILE.name}: {'as the schemas say' if same else 'differs from the schemas'}")
        return 0 if same else 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    print(FILE)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
