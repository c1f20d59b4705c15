/** What the graph around a node says, read without running it. */

import { api } from "../../../../scripts/api.js";
import { app } from "../../../../scripts/app.js";

const MOST_STEPS = 24; // nodes that are looked through for an image
const PICTURE = /\.(png|jpe?g|webp|gif|avif|bmp)$/i;

/** Value of a widget beside this one, or `otherwise`. */
export function widgetValue(node, name, otherwise) {
  const value = node.widgets?.find((widget) => widget.name === name)?.value;
  return value ?? otherwise;
}

/** The node that is connected to an input, or null; a node that is not in a graph yet has none. */
export function upstream(node, name) {
  if (!node.graph) return null;
  const place = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  return place < 0 ? null : (node.getInputNode(place) ?? null);
}

/** Addresses of the images that reach an input, as far as loading nodes and earlier runs tell. */
export function imagesInto(node, name) {
  const source = upstream(node, name);
  return source ? imagesOf(source, { left: MOST_STEPS }) : [];
}

/** Images of a loading node; of others what flows into them, or else what their last run showed. */
function imagesOf(node, steps) {
  if (steps.left-- <= 0) return [];
  const file = widgetValue(node, "image", null);
  if (node.comfyClass?.startsWith("LoadImage") && typeof file === "string") return [fileAddress(file)];
  const inputs = (node.inputs ?? []).filter((input) => input.type === "IMAGE");
  const found = inputs.flatMap(({ name }) => {
    const source = upstream(node, name);
    return source ? imagesOf(source, steps) : [];
  });
  return found.length ? found : shownBy(node);
}

function shownBy(node) {
  const files = app.nodeOutputs?.[String(node.id)]?.images ?? [];
  return files
    .filter(({ filename }) => PICTURE.test(filename))
    .map(({ filename, subfolder = "", type = "output" }) => address({ filename, subfolder, type }));
}

/** Address of "folder/name.png [input]", as image widgets name files. */
function fileAddress(file) {
  const [, path, type = "input"] = file.match(/^(.*?)(?: \[(\w+)\])?$/);
  const cut = path.lastIndexOf("/");
  return address({ filename: path.slice(cut + 1), subfolder: path.slice(0, Math.max(cut, 0)), type });
}

const address = (parts) => api.apiURL(`/view?${new URLSearchParams(parts)}`);

/** Call `watcher` whenever the graph, or a link of `node`, changed, or a run ended; gives the way to end that. */
export function watchGraph(node, watcher) {
  const names = ["graphChanged", "executed"];
  for (const name of names) api.addEventListener(name, watcher);
  const before = node.onConnectionsChange;
  node.onConnectionsChange = function (...change) {
    before?.apply(this, change);
    watcher();
  };
  return () => names.forEach((name) => api.removeEventListener(name, watcher));
}
