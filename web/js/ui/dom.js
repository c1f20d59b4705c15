/**
 * Small parts of a page. Everything that takes the keyboard is an `input`, a `select` or a `textarea`: the host
 * leaves Ctrl+Z to those, and takes it for the whole graph elsewhere.
 */

import { t } from "./language.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (`class`, `on...` handlers, attributes) and children (elements, strings, null). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
}

const ICONS = {
  select: "M3 2l9 5-4 1.2L6.2 13z",
  pen: "M3 13l1-4 7-7 3 3-7 7zM10 3l3 3",
  record: "M2 11c3-9 5-9 6-4s3 5 6-3",
  anchor: "M8 2v12M2 8h12",
  undo: "M6 3L2.5 6.5 6 10M3 6.5h6a4 4 0 010 7H6",
  redo: "M10 3l3.500 3.500L10 10M13 6.500H7a4 4 0 000 7h3",
  play: "M4 2.500l9 5.500-9 5.500z",
  pause: "M4 3v10M11 3v10",
  delete: "M3 4h10M6 4V2.500h4V4M4.500 4l.7 9.500h5.600l.7-9.500",
  full: "M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4",
  close: "M3 3l10 10M13 3L3 13",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2 4h12v8H2zM5 8h6",
};

/** A picture of 16 x 16 units, of lines. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon; `update(pressed, disabled, name)` of its element shows a state. */
export function iconButton(name, label, onclick) {
  const input = h("input", { type: "button", "aria-label": label, title: label, onclick });
  const element = h("span", { class: "choreo-button" }, input, icon(name));
  element.update = ({ pressed, disabled, shows }) => {
    if (pressed !== undefined) input.setAttribute("aria-pressed", String(pressed));
    if (disabled !== undefined) input.disabled = disabled;
    if (shows !== undefined && element.dataset.shows !== shows) {
      element.dataset.shows = shows;
      element.lastChild.replaceWith(icon(shows));
    }
  };
  return element;
}

/** A button with words. */
export const textButton = (label, onclick) =>
  h("input", { type: "button", class: "choreo-words", value: t(label), onclick });

/** A labelled control. */
export const field = (label, control) =>
  h("label", { class: "choreo-field" }, h("span", {}, t(label)), control);

/** Show a value in a control, unless the user is typing there. */
export function show(control, value) {
  if (control.type === "checkbox") control.checked = Boolean(value);
  else if (control !== document.activeElement && control.value !== String(value ?? ""))
    control.value = value ?? "";
}

/** A number field; `onvalue(number or null)` when a number, or nothing where `empty` allows it, was entered. */
export function numberField({ step = "any", min, max, empty = false, label }, onvalue) {
  const control = h("input", {
    type: "number",
    step,
    min,
    max,
    "aria-label": label && t(label),
    onchange: () => {
      const value = control.value === "" ? null : Number(control.value);
      const fits = value === null ? empty : Number.isFinite(value) && !(value < min) && !(value > max);
      if (fits) onvalue(value);
      else control.reportValidity();
    },
  });
  return control;
}

/** A choice of some words; `onvalue(word)`. */
export function choiceField(options, onvalue, label) {
  const entries = options.map((option) => h("option", { value: option }, t(option)));
  const control = h(
    "select",
    { "aria-label": label && t(label), onchange: () => onvalue(control.value) },
    entries,
  );
  return control;
}

/** A check box with its words beside it. */
export function checkField(label, onvalue) {
  const control = h("input", { type: "checkbox", onchange: () => onvalue(control.checked) });
  const element = h("label", { class: "choreo-check" }, control, h("span", {}, t(label)));
  element.box = control;
  return element;
}

/** A part of a panel that opens and closes. */
export const section = (title, open, ...children) =>
  h("details", { open }, h("summary", {}, t(title)), children);

/** A list kept in step with items: rows made by `make(place)` stay where they are, and get `update(item)`. */
export function rows(container, make) {
  return (items) => {
    while (container.children.length > items.length) container.lastChild.remove();
    while (container.children.length < items.length) container.append(make(container.children.length));
    items.forEach((item, i) => container.children[i].update(item));
  };
}

/** The style sheet of the editors, to be put beside one; a page that has it already does not load it again. */
export const styleSheet = () =>
  h("link", { rel: "stylesheet", href: new URL("../choreographer.css", import.meta.url).href });
