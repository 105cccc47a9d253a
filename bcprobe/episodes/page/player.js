// An episode in a player: its screen, what each click was, its time line; and the buttons that play it.
import { h, select, words } from "./dom.js";
import { Screen } from "./screen.js";
import { Timeline } from "./timeline.js";

/** Clicks listed around the one shown. */
const LISTED = 6;

export class Player {
  /**
   * `episode` {title, note, steps}; `picture(step)`: address of the screen before a click; `onSeek(step)`.
   * `palette`: the colours. `curves`: of the time line, beside progress.
   */
  constructor({ episode, palette, picture, onSeek, curves = [] }) {
    Object.assign(this, { episode, palette, picture });
    this.screen = new Screen({ label: `${episode.title}: screen of the episode`, colour: palette.click, below: 330 });
    const progress = { name: "progress", colour: "var(--accent)", fill: true, value: (step) => step.progress };
    this.timeline = new Timeline({ palette, onSeek, curves: [progress, ...curves], actions: palette.actions });
    this.said = h("p", { class: "said", role: "status", "aria-live": "polite" });
    this.facts = h("dl", { class: "facts" });
    this.log = h("ol", { class: "clicks", "aria-label": "Clicks around this one" });
    this.log.addEventListener("click", (event) => {
      const row = event.target.closest("button");
      if (row) onSeek(Number(row.dataset.step));
    });
    this.card = h("section", { class: "card" }, this.facts, this.log);
    this.timeline.set(episode.steps, 0, episode.tail || {});
  }

  get last() { return this.episode.steps.length; }

  async to(step) {
    const { steps } = this.episode;
    this.step = Math.min(this.last, Math.max(0, step));
    const one = steps[this.step], before = steps[this.step - 1];
    await this.screen.show(this.picture(this.step));
    this.screen.mark({ click: one ? [one.x, one.y] : null, before: before ? [before.x, before.y] : null });
    this.timeline.head(this.step);
    this.said.textContent = one ? `Click ${this.step} of ${this.last}: ${one.text} · ${one.phase}${one.mistake ? ` · a mistake stands${one.kind ? ` (${one.kind})` : ""}` : ""}` : `The last screen, after ${this.last} clicks`;
    this.tell(one);
    this.list();
  }

  tell(one) {
    const row = (name, ...value) => [h("dt", {}, name), h("dd", {}, value)];
    this.facts.replaceChildren(...(one ? [
      row("Phase", h("span", { class: "chip" }, h("i", { style: `--c:${this.palette.phases[one.phase] || "#888"}` }), one.phase)),
      row("Action", one.valid ? one.action : `${one.action}, changes nothing`),
      row("Screen", `${one.x}, ${one.y}`),
      row("Position", `${one.position + 1} of ${one.positions}`),
      row("Progress", `${Math.round(100 * one.progress)} %`),
      row("Mistake", h("span", { class: one.mistake ? "stands" : "" }, one.mistake ? `stands (${one.kind || "unnamed"})` : "none stands")),
      one.azimuth === null || one.azimuth === undefined ? [] : row("View", `${one.azimuth}° az, ${one.elevation}° el`),
    ].flat() : [row("After the last click", "")].flat()));
  }

  list() {
    const { steps } = this.episode, from = Math.max(0, Math.min(this.step - 2, this.last - LISTED));
    this.log.replaceChildren(...steps.slice(from, from + LISTED).map((one, i) => h("li", {},
      h("button", { "data-step": from + i, "aria-current": from + i === this.step ? "true" : null }, h("b", {}, String(from + i)), h("i", { style: `--c:${this.palette.phases[one.phase] || "#888"}` }), one.text))));
  }

  /** First click after `step` at which a mistake begins to stand, if there is one. */
  nextMistake(step) {
    const { steps } = this.episode;
    for (let i = step + 1; i < steps.length; i++) if (steps[i].mistake && !steps[i - 1].mistake) return i;
    return null;
  }
}

/** Curves of read-outs for a time line, each [{name, low, high, colour, dash}] over `step.reads[i]`. */
export function readCurves(reads) {
  return reads.map(({ name, low, high, colour, dash }, i) => ({ name: low === 0 && high === 1 ? name : `${name} (${low.toFixed(1)} to ${high.toFixed(1)})`, colour, dash, value: (step) => (step.reads?.[i] ?? null) === null ? null : (step.reads[i] - low) / (high - low) }));
}

/** Buttons and keys that move through an episode. */
export class Playing {
  /**
   * `owner` has `step` and `last`, `seek(step)`, `forward()`, which resolves to false at the end; if it
   * begins again after that, `again`; and, if there are mistakes to go to, `nextMistake(step)`. `rates`: clicks a second to choose from.
   * `live`: elements that say nothing aloud while it plays.
   */
  constructor(owner, { rates, rate, live = [] }) {
    Object.assign(this, { owner, live, on: false, turn: 0 });
    this.button = h("button", { class: "main", "aria-keyshortcuts": "Space", onclick: () => this.play(!this.on) }, "Play");
    this.back = h("button", { "aria-label": "One click back", title: "One click back", onclick: () => this.seek(owner.step - 1) }, "◀");
    this.forth = h("button", { "aria-label": "One click on", title: "One click on", onclick: () => this.forward() }, "▶");
    this.rate = select(rates, rate, { "aria-label": "Speed" });
    this.mistake = owner.nextMistake ? h("button", { "aria-keyshortcuts": "m", onclick: () => this.nextMistake() }, "Next mistake", h("kbd", { "aria-hidden": "true" }, "m")) : null;
    this.node = h("div", { class: "play", role: "group", "aria-label": "Playing" }, this.button, this.back, this.forth, this.rate, this.mistake);
  }

  seek(step) { this.play(false); return this.owner.seek(step); }
  forward() { this.play(false); return this.owner.forward(); }
  nextMistake() {
    const found = this.owner.nextMistake(this.owner.step);
    if (found !== null) this.seek(found);
  }

  async play(on) {
    const { owner } = this;
    if (on === this.on) return;
    this.on = on;
    const mine = ++this.turn;
    this.button.textContent = on ? "Pause" : "Play";
    this.live.forEach((node) => node.setAttribute("aria-live", on ? "off" : "polite"));
    if (on && owner.again && owner.step >= owner.last) await owner.seek(0);
    while (mine === this.turn && on && this.node.isConnected) {
      const began = performance.now();
      if (!(await owner.forward())) break;
      await new Promise((done) => setTimeout(done, Math.max(0, 1000 / Number(this.rate.value) - (performance.now() - began))));
    }
    if (mine === this.turn && on) this.play(false);
  }

  /** Listen to the keys of the page; `more`: other keys and what they do. */
  keys(scope, more = {}) {
    const { owner } = this;
    scope.ends.push(() => this.play(false));
    scope.on(document, "keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, summary")) return;
      if (event.key === " " && event.target.closest("button, a")) return;
      const ten = event.shiftKey ? 10 : 1;
      const known = {
        " ": () => this.play(!this.on), ArrowLeft: () => this.seek(owner.step - ten), ArrowRight: () => (ten > 1 ? this.seek(owner.step + ten) : this.forward()),
        Home: () => this.seek(0), End: () => this.seek(owner.last), ...(this.mistake && { m: () => this.nextMistake() }), ...more,
      };
      const work = known[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!work) return;
      event.preventDefault();
      work();
    });
  }
}
