/** JSON as this pack writes it: short things on one line, spaces as Python's json has them. */

/** One value on one line: {"x": 0.25, "y": 0.5}. */
export function inline(value) {
  if (Array.isArray(value)) return `[${value.map(inline).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, entry]) => `${JSON.stringify(key)}: ${inline(entry)}`)
    .join(", ")}}`;
}

/** A list with one entry a line, each written by `write`, indented by `indent` spaces. */
export function lines(list, indent, write = inline) {
  if (!list.length) return "[]";
  const start = `\n${" ".repeat(indent)}`;
  return `[${list.map((entry) => start + write(entry)).join(",")}]`;
}

/** An object: short entries on one line, those in `long` by their writers, with `apart` before them. */
export function object(value, long, apart = ", ") {
  const parts = Object.entries(value).map(([key, entry], i) => {
    const written = long[key] && Array.isArray(entry) ? long[key](entry) : inline(entry);
    return `${i ? (long[key] ? apart : ", ") : ""}${JSON.stringify(key)}: ${written}`;
  });
  return `{${parts.join("")}}`;
}

/** `entry` without what is undefined or has its default value. */
export function lean(entry, defaults) {
  return Object.fromEntries(
    Object.entries(entry).filter(
      ([key, value]) => value !== undefined && !(key in defaults && value === defaults[key]),
    ),
  );
}
