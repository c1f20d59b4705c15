/** Words in the user's language: English text is the key, and what shows where there is no translation. */

import { zh } from "./zh.js";

const LANGUAGES = { zh };
let words = {};

/** Choose by the host's locale, such as "en" or "zh". */
export function useLanguage(locale) {
  words = LANGUAGES[locale] ?? {};
}

/** A text in the chosen language; {name} is replaced by `values.name`. */
export function t(text, values = {}) {
  return (words[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
