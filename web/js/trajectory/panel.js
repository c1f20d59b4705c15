/** The side panel of the full screen: tracks, the selected points, the camera, the clip, text in and out. */

import { h } from "../ui/dom.js";
import { cameraSection } from "./camera_panel.js";
import { clipSection } from "./clip_panel.js";
import { exchangeSection } from "./exchange_panel.js";
import { pointSection } from "./point_panel.js";
import { trackSection } from "./track_panel.js";

/** The panel of a view. */
export function panel(view) {
  const { state } = view;
  const sections = [
    trackSection(state),
    pointSection(state),
    cameraSection(state),
    clipSection(view),
    exchangeSection(state),
  ];
  const element = h("div", { class: "choreo-panel" }, sections);
  element.update = () => {
    if (view.full) for (const part of sections) part.update();
  };
  return element;
}
