/** The text of the widget, and text from and for other packs. */

import { isDocument, readText } from "../model/document.js";
import { documentWith, joined } from "../model/edit.js";
import { exportText, FORMATS, UNITS } from "../model/exchange.js";
import { choiceField, field, h, section, textButton } from "../ui/dom.js";
import { t } from "../ui/language.js";

/** The section of a state's panel. */
export function exchangeSection(state) {
  const text = h("textarea", { rows: 8, spellcheck: "false", "aria-label": t("Text of the trajectories") });
  const says = h("div", { class: "choreo-status", role: "status" });
  const unit = choiceField(UNITS, () => undefined);
  const format = choiceField(FORMATS, () => undefined);
  const attempt = (action) => () => {
    try {
      says.textContent = action() ?? "";
      says.classList.remove("choreo-wrong");
    } catch (error) {
      says.textContent = error.message;
      says.classList.add("choreo-wrong");
    }
  };
  const take = (replace) =>
    attempt(() => takeText(state, text.value, { size: state.host.frameSize(), unit: unit.value }, replace));
  const write = attempt(() => {
    text.value =
      format.value === "trajectories"
        ? state.text
        : exportText(state.doc, format.value, state.frames, state.size);
  });
  const copy = attempt(() => {
    text.select();
    navigator.clipboard?.writeText(text.value);
    return t("Copied");
  });
  const element = section(
    "Text, import and export",
    false,
    text,
    h("div", { class: "choreo-form" }, field("Unit of coordinates", unit), field("Format", format)),
    h(
      "div",
      { class: "choreo-buttons" },
      textButton("Use this text", take(true)),
      textButton("Add these tracks", take(false)),
      textButton("Write the text", write),
      textButton("Copy", copy),
    ),
    says,
  );
  let shown = null;
  element.update = () => {
    if (shown !== state.text && text !== document.activeElement) text.value = state.text;
    shown = state.text;
  };
  return element;
}

/**
 * Read text of any format; pixels are those of the node's frame. In place of all, this pack's own text is kept to
 * the letter, and with other text the drawing gets that frame's size.
 */
function takeText(state, text, reading, replace) {
  const doc = readText(text, reading);
  if (replace && isDocument(text)) state.take(text);
  else {
    state.error = null; // of a text that cannot be read nothing is kept
    state.commit(joined(replace ? documentWith(state.doc, { size: doc.size, tracks: [] }) : state.doc, doc));
  }
  return takenFrom(doc, isDocument(text) ? {} : reading);
}

/** What was taken, and of which frame its pixels were. */
function takenFrom({ tracks, camera = [] }, { size, unit }) {
  const says = [t("Tracks taken: {count}", { count: tracks.length })];
  if (camera.length) says.push(t("Camera moves taken: {count}", { count: camera.length }));
  if (unit === "pixels") says.push(t("Pixels of {width} x {height}", { width: size[0], height: size[1] }));
  return says.join(" | ");
}
