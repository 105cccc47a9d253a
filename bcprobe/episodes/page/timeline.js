// An episode at a glance: progress or probabilities, phases, standing mistakes, actions, who clicked; and a head.
import { h, svg } from "./dom.js";

const LEFT = 76, RIGHT = 8, PLOT = 62;
let drawings = 0;

export class Timeline {
  /**
   * `palette`: colours of phases and of mistakes. `onSeek(step)`. `curves` [{name, colour, dash, fill,
   * value(step)}] from 0 to 1. `actions`: names that get a lane each, if they occur.
   */
  constructor({ palette, onSeek, curves = [], actions = [] }) {
    Object.assign(this, { palette, onSeek, curves, actions });
    this.steps = [];
    this.tail = null;
    this.now = 0;
    this.hatch = `stands-${drawings++}`;
    this.svg = svg("svg", { class: "drawing", "aria-hidden": "true" });
    this.node = h("div", { class: "timeline", tabIndex: 0, role: "slider", "aria-label": "Click of the episode", "aria-valuemin": 0 }, this.svg);
    this.node.addEventListener("pointerdown", (event) => { this.node.setPointerCapture(event.pointerId); this.point(event); });
    this.node.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6 }[event.key];
      if (!by || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.seek(this.now + by * (event.shiftKey ? 10 : 1));
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  /** Show these steps, and as `tail` what is known of the last screen, before a click that is not made. */
  set(steps, now, tail = {}) {
    this.steps = steps;
    this.tail = tail;
    this.draw();
    this.head(now);
  }

  get length() { return Math.max(1, this.steps.length + (this.tail ? 1 : 0)); }
  get rows() { return this.tail ? [...this.steps, this.tail] : this.steps; }
  seek(step) { this.onSeek(Math.min(this.length - 1, Math.max(0, step))); }
  point(event) {
    const x = event.clientX - this.node.getBoundingClientRect().left - LEFT;
    this.seek(Math.floor(x / this.unit));
  }

  draw() {
    const width = this.width = Math.max(160, this.node.clientWidth - LEFT - RIGHT - 2);
    this.unit = width / this.length;
    this.svg.replaceChildren();
    const pattern = this.add("pattern", { id: this.hatch, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, this.add("defs"));
    svg("rect", { width: 5, height: 5, fill: this.palette.mistake }, pattern);
    svg("rect", { width: 1.6, height: 5, fill: "#fff", "fill-opacity": 0.5 }, pattern);
    let y = 6;
    if (this.curves.length) y = this.plot(y) + 12;
    y = this.phases(y);
    y = this.mistakes(y);
    y = this.acted(y);
    if (this.steps.some((step) => step.steer || (step.source && step.source !== "model"))) y = this.hands(y);
    this.numbers(y);
    this.svg.setAttribute("height", y + 20);
    this.svg.setAttribute("width", width + LEFT + RIGHT);
    this.marker = this.add("g", { class: "head" });
    svg("rect", { y: 1, height: y - 1, width: Math.max(2, this.unit), rx: 1.5, class: "beam" }, this.marker);
    svg("path", { d: `M${this.unit / 2} 1V${y}`, class: "line" }, this.marker);
    svg("circle", { cx: this.unit / 2, cy: 4, r: 4 }, this.marker);
    this.head(this.now);
  }

  add(tag, attributes = {}, parent = this.svg, text = "") { return svg(tag, attributes, parent, text); }
  label(text, y) { this.add("text", { x: LEFT - 9, y, "text-anchor": "end" }, this.svg, text); }
  x(step) { return LEFT + step * this.unit; }
  /** Call `paint(value, x, width)` for every stretch of steps with one value. */
  runs(value, paint) {
    const { unit, rows: steps } = this, gap = unit > 4 ? 1 : 0;
    for (let from = 0, to; from < steps.length; from = to) {
      for (to = from + 1; to < steps.length && value(steps[to]) === value(steps[from]); to++);
      paint(value(steps[from]), this.x(from), Math.max(1, (to - from) * unit - gap));
    }
  }

  /** Curves over the steps at which a mistake stands. Each of these returns the y below it. */
  plot(top) {
    const { unit, rows: steps } = this, at = (v) => top + PLOT * (1 - Math.min(1, Math.max(0, v)));
    this.label("1", top + 8);
    this.label("0", top + PLOT);
    for (const share of [0, 0.5, 1]) this.add("path", { d: `M${LEFT} ${at(share)}h${this.width}`, class: "grid" });
    steps.forEach((step, i) => step.mistake && this.add("rect", { x: this.x(i), y: top, width: Math.max(1, unit), height: PLOT, fill: this.palette.mistake, "fill-opacity": 0.13 }));
    for (const { colour, dash, fill, value } of this.curves) {
      let path = "", open = false, last = 0;
      steps.forEach((step, i) => {
        const v = value(step);
        if (v === null || v === undefined) { open = false; return; }
        path += `${open ? "L" : "M"}${(this.x(i) + unit / 2).toFixed(1)} ${at(v).toFixed(1)}`;
        last = this.x(i) + unit / 2;
        if (!open) path += "h0.01";
        open = true;
      });
      if (fill && path) this.add("path", { d: `${path}L${last} ${at(0)}H${this.x(0) + unit / 2}Z`, fill: colour, "fill-opacity": 0.14 });
      this.add("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.9, "stroke-linejoin": "round", "stroke-linecap": "round", "stroke-dasharray": dash || "none" });
    }
    return top + PLOT;
  }

  phases(top) {
    this.label("Phase", top + 13);
    this.runs((step) => step.phase, (phase, x, width) => phase && this.add("rect", { x, y: top, width, height: 17, rx: 2.5, fill: this.palette.phases[phase] || "#888", class: "phase" }));
    return top + 23;
  }

  mistakes(top) {
    this.label("Mistake", top + 10);
    this.add("rect", { x: LEFT, y: top, width: this.width, height: 11, rx: 2.5, class: "bed" });
    this.runs((step) => step.mistake, (stands, x, width) => stands && this.add("rect", { x, y: top, width: Math.max(2, width), height: 11, rx: 2.5, fill: `url(#${this.hatch})`, class: "mistake" }));
    return top + 17;
  }

  /** A lane for each action, with a tick for each click. */
  acted(top) {
    const lanes = this.actions.filter((name) => this.steps.some((step) => step.action === name));
    const thick = Math.min(4, Math.max(1.2, this.unit * 0.6));
    lanes.forEach((name, row) => {
      this.label(name[0].toUpperCase() + name.slice(1), top + 15 * row + 11);
      this.add("path", { d: `M${LEFT} ${top + 15 * row + 7.5}h${this.width}`, class: "grid" });
    });
    this.steps.forEach((step, i) => lanes.includes(step.action) && this.add("rect", { x: this.x(i) + (this.unit - thick) / 2, y: top + 15 * lanes.indexOf(step.action) + 2, width: thick, height: 11, rx: 1, class: step.action === "undo" ? "tick undo" : "tick" }));
    return top + 15 * lanes.length + (lanes.length ? 3 : 0);
  }

  /** Clicks that the model did not make of its own: a person's, a mistake made for it, steered ones. */
  hands(top) {
    this.label("By hand", top + 9);
    this.add("path", { d: `M${LEFT} ${top + 5.5}h${this.width}`, class: "grid" });
    this.steps.forEach((step, i) => {
      const cx = this.x(i) + this.unit / 2, cy = top + 5.5;
      if (step.source === "trip") this.add("path", { d: `M${cx} ${cy - 5.5}l5 9.5h-10z`, fill: this.palette.mistake });
      else if (step.source && step.source !== "model") this.add("circle", { cx, cy, r: 3.2, class: "person" });
      else if (step.steer) this.add("rect", { x: cx - Math.min(3, this.unit / 2), y: cy - 2.5, width: Math.min(6, this.unit), height: 5, class: "steered" });
    });
    return top + 14;
  }

  numbers(y) {
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * this.unit > 40) || 1000;
    this.label("Click", y + 14);
    for (let i = 0; i < this.length; i += every) this.add("text", { x: this.x(i) + this.unit / 2, y: y + 14, "text-anchor": "middle" }, this.svg, String(i));
  }

  head(now) {
    this.now = Math.min(this.length - 1, Math.max(0, now));
    this.marker?.setAttribute("transform", `translate(${this.x(this.now)} 0)`);
    const step = this.steps[this.now];
    this.node.setAttribute("aria-valuemax", this.length - 1);
    this.node.setAttribute("aria-valuenow", this.now);
    this.node.setAttribute("aria-valuetext", step ? `click ${this.now}: ${step.text}, ${step.phase}${step.mistake ? ", a mistake stands" : ""}` : `click ${this.now}: the last screen`);
  }

  /** What the colours and lines stand for. */
  key() {
    const has = (test) => this.rows.some(test);
    const line = (name, colour, kind) => h("span", {}, h("i", { class: kind, style: `--c:${colour}` }), name);
    return h("p", { class: "key" },
      this.curves.map(({ name, colour, dash }) => line(name, colour, dash ? "stroke dashed" : "stroke")),
      Object.keys(this.palette.phases).filter((phase) => has((step) => step.phase === phase)).map((phase) => line(phase, this.palette.phases[phase], "")),
      line("a mistake stands", this.palette.mistake, "hatch"),
      has((step) => step.source === "trip") && line("a mistake made for the model", this.palette.mistake, "triangle"),
      has((step) => step.source && !["model", "trip"].includes(step.source)) && line("a person's click", "var(--accent)", "round"),
      has((step) => step.steer) && line("steered", "var(--select)", "bar"));
  }
}
