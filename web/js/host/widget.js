/** A widget of the graph whose value is one text, shown by an editor. */

import { h, styleSheet } from "../ui/dom.js";
import { watchGraph } from "./graph.js";

/** Events that are the editor's alone: the host would move, delete, copy or zoom the node. */
const OWN = [
  "keydown",
  "keyup",
  "keypress",
  "pointerdown",
  "pointermove",
  "pointerup",
  "dblclick",
  "contextmenu",
  "copy",
  "cut",
  "paste",
];

/**
 * Put an editor on a node. `make(widget)` gives { element, getText(), setText(text), refresh(), dispose() };
 * the host asks for the value when it saves, queues or copies, and sets it when it loads or undoes.
 */
export function addTextWidget(node, name, { type, text, height, make }) {
  const element = h("div", { class: "choreo-widget", style: "width: 100%; height: 100%" });
  let editor = null;
  const widget = node.addDOMWidget(name, type, element, {
    getValue: () => editor?.getText() ?? text,
    setValue: (value) => editor?.setText(String(value ?? "")),
    getMinHeight: () => height,
    hideOnZoom: false,
    margin: 4,
  });
  editor = make(widget);
  editor.setText(text);
  element.append(styleSheet(), editor.element);
  for (const event of OWN) element.addEventListener(event, (each) => each.stopPropagation());
  const refresh = () => editor.refresh(); // what is around the node may have changed
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, refresh);
  const unwatch = watchGraph(node, refresh);
  const removed = widget.onRemove;
  widget.onRemove = () => {
    removed?.call(widget);
    unwatch();
    editor.dispose();
  };
  return widget;
}
