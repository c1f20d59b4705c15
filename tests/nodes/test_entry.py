"""What ComfyUI and tools read of the pack: the nodes, their schemas, the entry point."""

import ast
import asyncio
import importlib.util
import sys

import pytest
from choreographer.tests.nodes.tiny import pack

pytestmark = pytest.mark.usefixtures("comfy_host")


@pytest.fixture
def schemas(comfy_host):
    return {node: node.define_schema() for node in pack("nodes").NODES}


def test_the_spelled_out_mapping_is_the_list(schemas):
    nodes = pack("nodes")
    assert nodes.NODE_CLASS_MAPPINGS == {schema.node_id: node for node, schema in schemas.items()}
    tree = ast.parse(open(nodes.__file__, encoding="ascii").read())
    literals = [n.value for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Dict)]
    assert [key.value for key in literals[0].keys] == list(nodes.NODE_CLASS_MAPPINGS)


def test_every_node_is_described_in_full(schemas):
    for node, schema in schemas.items():
        node.GET_SCHEMA()  # the host's own checks
        assert schema.node_id.startswith("Choreo") and schema.category.startswith("Choreographer/")
        assert schema.display_name and schema.description
        for socket in (*schema.inputs, *schema.outputs):
            assert socket.tooltip, f"{schema.node_id}.{socket.id or socket.display_name} has no tooltip"
        assert all(output.display_name for output in schema.outputs)


def test_nodes_take_what_their_schema_offers(schemas):
    """`execute` has a parameter for each input, and a default for each optional one."""
    import inspect

    for node, schema in schemas.items():
        parameters = inspect.signature(node.execute).parameters
        assert set(parameters) == {entry.id for entry in schema.inputs}, schema.node_id
        for entry in schema.inputs:
            assert not entry.optional or parameters[entry.id].default is not inspect.Parameter.empty


def test_the_pack_loads_by_path_under_any_name(comfy_host):
    root = next(iter(sys.modules["choreographer"].__path__))
    spec = importlib.util.spec_from_file_location(
        "some name/ComfyUI-x", f"{root}/__init__.py", submodule_search_locations=[root]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    assert asyncio.run(extension.get_node_list()) == list(module.NODE_CLASS_MAPPINGS.values())
    assert module.WEB_DIRECTORY == "./web"
    assert len(open(f"{root}/__init__.py", encoding="ascii").read().splitlines()) < 30


def test_folders_have_extensions(comfy_host):
    import folder_paths

    files = pack("nodes.host.files")
    for kind in (files.MOTION_MODULES, files.MOTION_LORAS):
        paths, extensions = folder_paths.folder_names_and_paths[kind]
        assert paths and {".safetensors", ".ckpt"} <= set(extensions)
    with pytest.raises(ValueError, match="File 'gone.ckpt' is not in .*animatediff_models"):
        files.full_path(files.MOTION_MODULES, "gone.ckpt")


def test_what_trains_keeps_its_seed_from_run_to_run(schemas):
    """With another seed on every run it would begin anew, and never go on where it was cancelled."""
    learning = [
        s for s in schemas.values() if s.node_id.startswith(("ChoreoTrain", "ChoreoTune", "ChoreoBuild"))
    ]
    seeds = [entry for schema in learning for entry in schema.inputs if entry.id == "seed"]
    assert len(seeds) >= 6 and not any(entry.control_after_generate for entry in seeds)
