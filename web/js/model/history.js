/** What was there before: a row of states, and a place in it. */

const MOST = 200;

export class History {
  constructor(state) {
    this.states = [state];
    this.place = 0;
  }

  get now() {
    return this.states[this.place];
  }

  /** A new state; those that were undone are gone. */
  push(state) {
    if (state === this.now) return;
    this.states = [...this.states.slice(Math.max(0, this.place + 2 - MOST), this.place + 1), state];
    this.place = this.states.length - 1;
  }

  /** Go back (-1) or forth (1); the state there, or null at an end. */
  step(by) {
    const place = this.place + by;
    if (place < 0 || place >= this.states.length) return null;
    this.place = place;
    return this.now;
  }
}
