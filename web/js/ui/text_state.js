/** What every editor knows: the text that is the widget's value, the document it says, and what was before. */

import { History } from "../model/history.js";

/**
 * A text and its document, never changed in place. Those who extend it say what a text means:
 * parse(text), write(doc), empty() and settle(), which brings everything else in line with a new document.
 */
export class TextState {
  /** `store(text)` keeps the text in the widget. */
  constructor(store) {
    this.store = store;
    this.watchers = new Set();
    this.text = null;
    this.error = null;
  }

  /** A text with nothing before it. */
  begin(text) {
    this.read(text);
    this.history = new History({ text, doc: this.doc });
  }

  /** Call `watcher` after every change. */
  watch(watcher) {
    this.watchers.add(watcher);
  }

  touch() {
    for (const watcher of this.watchers) watcher();
  }

  /** Take the text that the host gives the widget; the same text again changes nothing. */
  load(text) {
    if (text === this.text) return;
    this.begin(text);
    this.touch();
  }

  /** Take a text from the user, to the letter. */
  take(text) {
    this.read(text);
    this.history.push({ text, doc: this.doc });
    this.store(text);
    this.touch();
  }

  read(text) {
    this.text = text;
    this.error = null;
    try {
      this.doc = this.parse(text);
    } catch (error) {
      this.error = error.message;
      this.doc = this.empty();
    }
    this.settle();
  }

  /** Show a document while something is dragged; `commit` or `restore` ends that. */
  preview(doc) {
    if (this.error) return;
    this.doc = doc;
    this.touch();
  }

  /** Make a document the text of the widget. Nothing is written over a text that cannot be read. */
  commit(doc) {
    if (this.error) return;
    this.doc = doc;
    this.settle();
    const text = this.write(doc);
    if (text !== this.text) {
      this.text = text;
      this.history.push({ text, doc });
      this.store(text);
    }
    this.touch();
  }

  /** Forget what was previewed. */
  restore() {
    this.doc = this.history.now.doc;
    this.settle();
    this.touch();
  }

  /** Start anew, also where the text cannot be read. */
  clear() {
    this.error = null;
    this.commit(this.empty());
  }

  /** Undo (-1) or redo (1). */
  step(by) {
    const state = this.history.step(by);
    if (!state) return;
    this.read(state.text);
    this.store(state.text);
    this.touch();
  }

  canStep(by) {
    const place = this.history.place + by;
    return place >= 0 && place < this.history.states.length;
  }
}
