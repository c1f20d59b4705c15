/** The trajectory editor as a widget of the graph. */

import { app } from "../../../../scripts/app.js";
import { imagesInto, widgetValue } from "../host/graph.js";
import { addTextWidget } from "../host/widget.js";
import { fullScreen } from "../ui/dialog.js";
import { t } from "../ui/language.js";
import { EditorState } from "./state.js";
import { EditorView } from "./view.js";

export const TYPE = "CHOREO_TRACKS";
const HEIGHT = 340;
const FRAMES_A_SECOND = 8;

/** Put the editor on a node, as the host's widget factories do. */
export function trajectoryWidget(node, name, [, options = {}]) {
  const widget = addTextWidget(node, name, {
    type: TYPE,
    text: options.default ?? "",
    height: HEIGHT,
    make: (made) => makeEditor(node, made),
  });
  return { widget, minWidth: 340, minHeight: HEIGHT };
}

function makeEditor(node, widget) {
  const state = new EditorState({
    frameSize: () => [widgetValue(node, "width", 512), widgetValue(node, "height", 512)],
    store: (text) => (widget.value = text),
    speed: () => app.extensionManager.setting.get("Choreographer.Editors.Speed") ?? FRAMES_A_SECOND,
  });
  const view = new EditorView(state, {
    background: () => imagesInto(node, "background")[0] ?? null,
    openFull: () => full.toggle(),
  });
  const full = fullScreen(view, t("Trajectories"));
  return {
    element: view.element,
    getText: () => state.text,
    setText: (text) => state.load(text),
    refresh: () => view.schedule(),
    dispose: () => {
      full.dispose();
      view.dispose();
    },
  };
}
