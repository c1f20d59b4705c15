/** The keyframe timeline as a widget of the graph. */

import { imagesInto, widgetValue } from "../host/graph.js";
import { addTextWidget } from "../host/widget.js";
import { fullScreen } from "../ui/dialog.js";
import { t } from "../ui/language.js";
import { TimelineState } from "./state.js";
import { TimelineView } from "./view.js";

export const TYPE = "CHOREO_TIMELINE";
const HEIGHT = 300;

/** Put the editor on a node, as the host's widget factories do. */
export function timelineWidget(node, name, [, options = {}]) {
  const widget = addTextWidget(node, name, {
    type: TYPE,
    text: options.default ?? "",
    height: HEIGHT,
    make: (made) => makeEditor(node, made),
  });
  return { widget, minWidth: 420, minHeight: HEIGHT };
}

function makeEditor(node, widget) {
  const state = new TimelineState({
    store: (text) => (widget.value = text),
    frames: () => widgetValue(node, "frames", 16),
    images: () => imagesInto(node, "images"),
  });
  const view = new TimelineView(state, { openFull: () => full.toggle() });
  const full = fullScreen(view, t("Keyframe timeline"));
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
