/** The extension: gives the text inputs of some nodes an editor. Without it they are plain text fields. */

import { app } from "../../../scripts/app.js";
import { TYPE as TIMELINE, timelineWidget } from "./timeline/widget.js";
import { TYPE as TRACKS, trajectoryWidget } from "./trajectory/widget.js";
import { useLanguage } from "./ui/language.js";

/** Node, input and its editor. */
const EDITORS = [
  ["ChoreoTrajectories", "trajectories", TRACKS],
  ["ChoreoKeyframeTimeline", "timeline", TIMELINE],
];

app.registerExtension({
  name: "comfyuichoreographer.editors",
  settings: [
    {
      id: "Choreographer.Editors.Speed",
      category: ["Choreographer", "Editors", "Speed"],
      name: "Frames a second when an editor plays",
      tooltip: "Only how fast the trajectory editor plays; not part of any clip.",
      type: "slider",
      attrs: { min: 1, max: 60, step: 1 },
      defaultValue: 8,
    },
  ],
  init() {
    useLanguage(app.extensionManager.setting.get("Comfy.Locale"));
  },
  getCustomWidgets() {
    return { [TRACKS]: trajectoryWidget, [TIMELINE]: timelineWidget };
  },
  beforeRegisterNodeDef(_, definition) {
    for (const [node, input, type] of EDITORS) {
      const options = definition.name === node && definition.input?.required?.[input]?.[1];
      if (options) options.widgetType = type; // the socket stays a STRING
    }
  },
});
