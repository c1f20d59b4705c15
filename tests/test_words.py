"""What users read: node help and locales in English and Chinese say what the schemas and messages say."""

import ast
import json
import re
from pathlib import Path

import pytest
from choreographer.devtools.make_locales import english

ROOT = Path(__file__).resolve().parent.parent
DOCS, LOCALES = ROOT / "web" / "docs", ROOT / "locales"
LANGUAGES = ("en", "zh")
WHEN, WHERE, INPUTS, OUTPUTS, MISTAKES = range(5)  # sections of a help page; references may follow
NO_DEFAULT = "-"
EMPTY = {"empty", "\u7a7a"}  # the second is Chinese
EXAMPLE = {"(example)", "\uff08\u793a\u4f8b\uff09"}
LEAST_LETTERS = 9  # "is not a ... but"
# lists of the host's or of files: not ours to explain word by word
THEIR_CHOICES = {"sampler_name", "scheduler", "motion_module", "lora", "adapter", "control_net"}
THEIR_CHOICES |= {"camera_lora", "object_lora", "file", "grounding_dino", "sam"}
ROW = re.compile(r"^\| `(\w+)`[^|]*\| ([^|]*?) \|", re.MULTILINE)
MESSAGE = re.compile(r"^\| [^|`]*`([^`|]+)` \|", re.MULTILINE)
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def schemas(comfy_host):
    from choreographer import nodes

    return {schema.node_id: schema for schema in (node.define_schema() for node in nodes.NODES)}


def help_file(node, language):
    """English help is the fallback NODE.md, other languages lie in NODE/LANGUAGE.md, as the editor asks."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def help_of(node, language):
    return help_file(node, language).read_text(encoding="utf-8")


def headings(text):
    return re.findall(r"^## (.+)$", text, re.MULTILINE)


def section(text, number):
    """The text under a heading of the second level."""
    return text.split("\n## ")[number + 1]


def locale(language, name):
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def leaves(tree, path=()):
    """(path, text) of everything in a locale file."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_its_help_and_nothing_else_has(schemas, language):
    files = {
        path.stem if language == "en" else path.parent.name
        for path in DOCS.glob("*.md" if language == "en" else f"*/{language}.md")
    }
    assert files == set(schemas)
    sections = headings(help_of("ChoreoEmptyVideoLatent", language))
    assert len(sections) == MISTAKES + 1
    for node in schemas:
        text = help_of(node, language)
        assert headings(text)[: len(sections)] == sections, f"{node}: other sections"
        assert "```" in section(text, WHERE), f"{node}: no graph"
        title = locale(language, "nodeDefs")[node]["display_name"]
        assert text.startswith(f"# {title}\n"), f"{node}: the heading is not its display name"


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_has_a_row_for_each_input_and_output(schemas, language):
    for node, schema in schemas.items():
        text = help_of(node, language)
        rows = dict(reversed(ROW.findall(section(text, INPUTS))))  # the first table counts
        assert set(rows) >= {entry.id for entry in schema.inputs}, node
        for entry in schema.inputs:
            assert shows(rows[entry.id], getattr(entry, "default", None)), f"{node}.{entry.id}"
        outputs = [name for name, _ in ROW.findall(section(text, OUTPUTS))]
        assert outputs == [output.display_name for output in schema.outputs], node


def shows(cell, default):
    """Whether a table's cell gives a default."""
    if default is None:
        return cell == NO_DEFAULT
    if isinstance(default, bool):
        return cell == str(default).lower()
    if isinstance(default, (int, float)):
        return float(cell) == default
    return cell in EMPTY if default == "" else cell in EXAMPLE if "\n" in default else cell == default


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_explains_every_choice(schemas, language):
    for node, schema in schemas.items():
        text = help_of(node, language)
        for entry in schema.inputs:
            options = getattr(entry, "options", None) or []
            for option in () if entry.id in THEIR_CHOICES else options:
                assert f"`{option}`" in text, f"{node}.{entry.id}: {option} is not explained"


def sentences():
    """Regular expressions of every string of the pack; an f-string's placeholders match anything."""
    for path in (*(ROOT / "core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")):
        for part in ast.walk(ast.parse(path.read_text(encoding="ascii"))):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield re.escape(part.value)
            elif isinstance(part, ast.JoinedStr):
                yield "".join(
                    re.escape(piece.value) if isinstance(piece, ast.Constant) else ".+"
                    for piece in part.values
                )


@pytest.fixture(scope="module")
def known_message():
    """Whether the code can say a message, in which "..." stands for what varies."""
    # a string of little but placeholders would match anything
    patterns = {text for text in sentences() if sum(map(str.isalpha, text)) >= LEAST_LETTERS}
    whole = re.compile("|".join(sorted(patterns)))
    source = "\n".join(patterns)

    def known(message):
        pieces = [re.escape(piece) for piece in message.split("...") if len(piece) > 8]
        said = whole.fullmatch(message) or whole.fullmatch(message + ".")
        return bool(said) or (bool(pieces) and all(piece in source for piece in pieces))

    return known


def test_a_message_that_no_code_says_is_found_out(known_message):
    assert known_message("gamma is ..., expected a correlation from -1 to 1")
    assert not known_message("gamma is ..., it should be a correlation from 0 to 1")
    assert not known_message("'...' is not a motion module: the model says so")


def messages(text):
    """The messages in a page's table of mistakes; a single word in backticks is an input's name."""
    return [found for found in MESSAGE.findall(section(text, MISTAKES)) if " " in found]


@pytest.mark.parametrize("language", LANGUAGES)
def test_messages_in_help_are_those_of_the_code(schemas, known_message, language):
    for node in schemas:
        for message in messages(help_of(node, language)):
            assert known_message(message), f"{node}: {message}"


def test_both_languages_explain_the_same_messages(schemas):
    for node in schemas:
        assert messages(help_of(node, "zh")) == messages(help_of(node, "en")), node


def test_the_english_locale_is_what_the_schemas_say(schemas):
    written = (LOCALES / "en" / "nodeDefs.json").read_text(encoding="utf-8")
    assert written == english(schemas.values()), "run `python -m devtools.make_locales`"


def test_the_chinese_locale_has_the_same_entries_and_is_chinese():
    for name in ("main", "nodeDefs"):
        theirs, ours = dict(leaves(locale("en", name))), dict(leaves(locale("zh", name)))
        assert ours.keys() == theirs.keys()
    for path, text in leaves(locale("zh", "nodeDefs")):
        assert path[-1] == "name" or CHINESE.search(text), f"{'.'.join(path)} is not translated: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_locales_survive_the_editor(language):
    """The editor's vue-i18n reads these characters as its own syntax."""
    for name in ("main", "nodeDefs"):
        for path, text in leaves(locale(language, name)):
            assert text.strip() and not re.search(r"[{}@|$%]", text), f"{'.'.join(path)}: {text}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_categories_and_socket_types_have_names(schemas, language):
    words = locale(language, "main")
    parts = {part for schema in schemas.values() for part in schema.category.split("/")}
    assert set(words["nodeCategories"]) == parts
    types = {
        entry.get_io_type() for schema in schemas.values() for entry in (*schema.inputs, *schema.outputs)
    }
    own = {kind for kind in types if kind.startswith("CHOREO_") or kind == "TRACKS"}
    assert set(words["dataTypes"]) == own


def test_the_host_reads_the_locales(comfy_host, monkeypatch, tmp_path):
    """ComfyUI's own reader finds both languages when the pack lies in custom_nodes."""
    import folder_paths
    from app.custom_node_manager import CustomNodeManager

    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "locales").symlink_to(LOCALES, target_is_directory=True)
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda kind: [str(tmp_path)])
    found = CustomNodeManager().build_translations()
    for language in LANGUAGES:
        assert found[language]["nodeDefs"] == locale(language, "nodeDefs")
        assert found[language]["dataTypes"] == locale(language, "main")["dataTypes"]


def test_chinese_help_is_chinese(schemas):
    for node in schemas:
        text = help_of(node, "zh")
        assert len(CHINESE.findall(text)) > 200, f"{node}: zh.md is not translated"


def test_the_readme_names_every_node_and_its_links_exist(schemas):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for schema in schemas.values():
        assert schema.display_name in text, f"README does not name {schema.display_name}"
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        local = not target.startswith(("http:", "https:"))
        assert not local or (ROOT / target).exists() or target.startswith("docs/images/"), target


@pytest.mark.parametrize("language", LANGUAGES)
def test_inputs_that_messages_begin_with_are_the_nodes_own(schemas, language):
    for node, schema in schemas.items():
        inputs = {entry.id for entry in schema.inputs}
        for message in messages(help_of(node, language)):
            named = re.match(r"([a-z_]+): ", message)
            assert named is None or named[1] in inputs, f"{node}: {message}"
