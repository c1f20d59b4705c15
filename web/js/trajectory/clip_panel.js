/** The frame's size, how many frames are shown, and the image behind the paths. */

import { documentWith } from "../model/edit.js";
import { field, h, numberField, section, show, textButton } from "../ui/dom.js";
import { t } from "../ui/language.js";

/** The section of a view's panel. */
export function clipSection(view) {
  const { state } = view;
  const setSize = (axis, value) => {
    const size = [...state.size];
    size[axis] = Math.round(value);
    state.commit(documentWith(state.doc, { size }));
  };
  const width = numberField({ step: 8, min: 8, max: 16384 }, (value) => setSize(0, value));
  const height = numberField({ step: 8, min: 8, max: 16384 }, (value) => setSize(1, value));
  const frames = numberField({ step: 1, min: 1, max: 4096 }, (value) =>
    state.commit(documentWith(state.doc, { frames: Math.round(value) })),
  );
  const file = h("input", {
    type: "file",
    accept: "image/*",
    "aria-label": t("Background image"),
    onchange: () => view.useImage(file.files[0]),
  });
  const fit = textButton("Size of the image", () => {
    const { naturalWidth, naturalHeight } = view.image ?? {};
    if (naturalWidth) state.commit(documentWith(state.doc, { size: [naturalWidth, naturalHeight] }));
  });
  const element = section(
    "Frame and clip",
    false,
    h(
      "div",
      { class: "choreo-form" },
      field("Width", width),
      field("Height", height),
      field("Frames shown", frames),
    ),
    field("Background image", file),
    h(
      "div",
      { class: "choreo-buttons" },
      fit,
      textButton("Start anew", () => state.clear()),
    ),
  );
  element.update = () => {
    show(width, state.size[0]);
    show(height, state.size[1]);
    show(frames, state.frames);
    fit.disabled = !view.image?.naturalWidth;
  };
  return element;
}
