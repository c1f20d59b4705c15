/** The tools and the most used actions, as buttons. */

import { h, iconButton } from "../ui/dom.js";
import { t } from "../ui/language.js";
import { remove } from "./actions.js";

const LABELS = {
  select: "Select and move (V)",
  pen: "Draw a path point by point (P)",
  record: "Draw free-hand, with your timing (F)",
  anchor: "Add a point that stays (A)",
};

/** The toolbar of a view. */
export function toolbar(view) {
  const { state, host } = view;
  const tools = Object.keys(LABELS).map((name) => [
    name,
    iconButton(name, t(LABELS[name]), () => state.setTool(name)),
  ]);
  const undo = iconButton("undo", t("Undo (Ctrl+Z)"), () => state.step(-1));
  const redo = iconButton("redo", t("Redo (Ctrl+Y)"), () => state.step(1));
  const erase = iconButton("delete", t("Delete the selected points (Del)"), () => remove(state));
  const zoom = (factor) => {
    if (factor) view.stage.zoomBy(factor);
    else view.stage.fit();
    view.schedule();
  };
  const views = [
    iconButton("minus", t("Zoom out"), () => zoom(1 / 1.25)),
    iconButton("fit", t("The whole frame"), () => zoom(0)),
    iconButton("plus", t("Zoom in"), () => zoom(1.25)),
  ];
  const full = iconButton("full", t("Full screen, with all settings"), () => host.openFull());
  const group = (label, ...buttons) =>
    h("div", { class: "choreo-group", role: "group", "aria-label": t(label) }, buttons);
  const element = h(
    "div",
    { class: "choreo-toolbar", role: "toolbar", "aria-label": t("Trajectory tools") },
    group(
      "Tools",
      tools.map(([, button]) => button),
    ),
    group("Changes", undo, redo, erase),
    group("View", views, full),
  );
  element.update = () => {
    for (const [name, button] of tools)
      button.update({ pressed: state.tool === name, disabled: Boolean(state.error) });
    undo.update({ disabled: !state.canStep(-1) });
    redo.update({ disabled: !state.canStep(1) });
    erase.update({ disabled: !state.selection.size });
    full.update({ pressed: Boolean(view.full), shows: view.full ? "close" : "full" });
  };
  return element;
}
