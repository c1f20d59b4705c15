/** The prompt director: its answer is written into the node, to be edited; its server is in the settings. */

import { app } from "../../../scripts/app.js";

const NODE = "ChoreoPromptDirector";
const setting = (name, label, tooltip) => ({
  id: `Choreographer.Director.${name}`,
  category: ["Choreographer", "Prompt Director", name],
  name: label,
  tooltip,
  type: "text",
  defaultValue: "",
});

/** Put the text that a run gave into the node's answer, where that still is what the run was given. */
function keepAnswer(node, output) {
  const [text, given] = [output?.text?.[0], output?.given?.[0]];
  const widget = node.widgets?.find((each) => each.name === "answer");
  if (!widget || typeof text !== "string" || widget.value === text || widget.value !== given) return;
  widget.value = text;
  widget.callback?.(text);
  node.setDirtyCanvas?.(true, true);
}

app.registerExtension({
  name: "comfyuichoreographer.director",
  settings: [
    setting("Model", "Model that writes prompts", "Its name on the server. Empty = the server's first."),
    setting(
      "Address",
      "Address of a chat server",
      "Speaks OpenAI's protocol, such as http://127.0.0.1:11434/v1 (Ollama).",
    ),
  ],
  beforeRegisterNodeDef(nodeType, definition) {
    if (definition.name !== NODE) return;
    const before = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      before?.apply(this, arguments);
      keepAnswer(this, output);
    };
  },
});
