"""What else the pack's script does in the page: the director's answer, settings, the user's language."""

import json
from pathlib import Path

LOCALE = Path(__file__).resolve().parents[2] / "locales" / "zh"
SENTENCE = "a red ball on grass, then a blue star on sand"
USE = """async (language) => {
    await app.extensionManager.setting.set("Comfy.Locale", language);
    (await import("/extensions/ComfyUI-Choreographer/js/ui/language.js")).useLanguage(language);
}"""


def locale(name):
    return json.loads((LOCALE / f"{name}.json").read_text(encoding="utf-8"))


def test_the_directors_answer_is_written_into_its_node(page):
    node = page.add("ChoreoPromptDirector", text=SENTENCE)
    page.run(
        """(id) => {
            const shown = LiteGraph.createNode("PreviewAny");
            shown.pos = [900, 120];
            app.graph.add(shown);
            app.graph.getNodeById(id).connect(0, shown, 0);
        }""",
        node,
    )
    assert page.value(node, "answer") == ""
    page.queue()
    page.until(lambda: page.value(node, "answer"), "the answer is written")
    answer = page.value(node, "answer")
    assert "a red ball on grass" in answer and "a blue star on sand" in answer
    page.load(page.serialize())
    assert page.value(node, "answer") == answer, "it is saved with the graph"
    assert not page.errors


def test_what_was_edited_while_the_director_ran_stays(page):
    node = page.add("ChoreoPromptDirector", text=SENTENCE, answer="0: mine")
    told = "([id, given]) => app.graph.getNodeById(id).onExecuted({ text: ['0: its own'], given: [given] })"
    page.run(told, [node, ""])
    assert page.value(node, "answer") == "0: mine", "it was empty when the run began"
    page.run(told, [node, "0: mine"])
    assert page.value(node, "answer") == "0: its own"
    assert not page.errors


def test_settings_and_editors_speak_the_users_language(pages, pictures):
    page = pages("newer", "vue")
    try:
        page.run(USE, "zh")
        page.add("ChoreoTrajectories", size=(420, 480))
        label = page.editor().locator("input[type=button]").first.get_attribute("aria-label")
        assert label == "\u9009\u62e9\u548c\u79fb\u52a8\uff08V\uff09"  # select and move
        page.run("() => app.extensionManager.command.execute('Comfy.ShowSettingsDialog')")
        heading = locale("main")["settingsCategories"]["Choreographer"]
        page.page.get_by_text(heading, exact=True).first.click()
        for words in locale("settings").values():
            page.page.get_by_text(words["name"], exact=True).wait_for()
        page.page.screenshot(path=pictures / "settings-zh.png")
        page.page.keyboard.press("Escape")
        assert not page.errors
    finally:
        page.run(USE, "en")
