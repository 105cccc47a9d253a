// An episode at a glance: phases, standing mistakes, what the model expects, who clicked; and a head.
import { h, svg } from "./dom.js";

const LEFT = 76, RIGHT = 8;

export class Timeline {
  /** `colours` by phase; `onSeek(step)`; `curves` [{name, colour, dash, value(step)}] from 0 to 1. */
  constructor({ colours, mistake, onSeek, curves = [] }) {
    Object.assign(this, { colours, mistake, onSeek, curves });
    this.steps = [];
    this.extra = 1;
    this.now = 0;
    this.svg = svg("svg", { class: "drawing", "aria-hidden": "true" });
    this.node = h("div", { class: "timeline", tabIndex: 0, role: "slider", "aria-label": "Click of the episode", "aria-valuemin": 0 }, this.svg);
    this.node.addEventListener("pointerdown", (event) => { this.node.setPointerCapture(event.pointerId); this.point(event); });
    this.node.addEventListener("pointermove", (event) => event.buttons && this.point(event));
    this.node.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: -10, PageDown: 10, Home: -1e6, End: 1e6 }[event.key];
      if (!by) return;
      event.preventDefault();
      event.stopPropagation();
      this.seek(this.now + by * (event.shiftKey ? 10 : 1));
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  /** Show these steps; `extra` counts the present screen, before a click that is not made yet. */
  set(steps, now, extra = 1) {
    this.steps = steps;
    this.extra = extra;
    this.draw();
    this.head(now);
  }

  get length() { return Math.max(1, this.steps.length + this.extra); }
  seek(step) { this.onSeek(Math.min(this.length - 1, Math.max(0, step))); }
  point(event) {
    const x = event.clientX - this.node.getBoundingClientRect().left - LEFT;
    this.seek(Math.floor(x / this.unit));
  }

  draw() {
    const width = Math.max(160, this.node.clientWidth - LEFT - RIGHT), steps = this.steps;
    const unit = this.unit = width / this.length, x = (step) => LEFT + step * unit;
    const plot = this.curves.length ? 62 : 0, top = 6;
    const lanes = { phase: top + plot + (plot ? 10 : 0), mistake: top + plot + (plot ? 34 : 24), who: top + plot + (plot ? 52 : 42) };
    const bottom = lanes.who + 12;
    this.svg.replaceChildren();
    this.svg.setAttribute("height", bottom + 20);
    this.svg.setAttribute("width", width + LEFT + RIGHT);
    const label = (text, y) => svg("text", { x: LEFT - 9, y, "text-anchor": "end" }, this.svg, text);
    const pattern = svg("pattern", { id: "stands", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, svg("defs", {}, this.svg));
    svg("rect", { width: 5, height: 5, fill: this.mistake }, pattern);
    svg("rect", { width: 1.6, height: 5, fill: "#fff", "fill-opacity": 0.5 }, pattern);
    if (plot) {
      label("1", top + 8); label("0", top + plot);
      for (const share of [0, 0.5, 1]) svg("path", { d: `M${LEFT} ${top + plot * (1 - share)}h${width}`, class: "grid" }, this.svg);
      steps.forEach((step, i) => step.mistake && svg("rect", { x: x(i), y: top, width: Math.max(1, unit), height: plot, fill: this.mistake, "fill-opacity": 0.13 }, this.svg));
      for (const { colour, dash, value } of this.curves) {
        let path = "", open = false;
        steps.forEach((step, i) => {
          const v = value(step);
          if (v === null || v === undefined) { open = false; return; }
          path += `${open ? "L" : "M"}${(x(i) + unit / 2).toFixed(1)} ${(top + plot * (1 - v)).toFixed(1)}`;
          if (!open) path += "h0.01";
          open = true;
        });
        svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.9, "stroke-linejoin": "round", "stroke-linecap": "round", "stroke-dasharray": dash || "none" }, this.svg);
      }
    }
    label("Phase", lanes.phase + 13); label("Mistake", lanes.mistake + 10); label("By hand", lanes.who + 9);
    const gap = unit > 4 ? 1 : 0;
    const runs = (value, paint) => {
      for (let from = 0, to; from < steps.length; from = to) {
        for (to = from + 1; to < steps.length && value(steps[to]) === value(steps[from]); to++);
        paint(value(steps[from]), from, to);
      }
    };
    runs((step) => step.phase, (phase, from, to) => svg("rect", { x: x(from), y: lanes.phase, width: Math.max(1, (to - from) * unit - gap), height: 17, rx: 2.5, fill: this.colours[phase] || "#888" }, this.svg));
    svg("rect", { x: LEFT, y: lanes.mistake, width, height: 11, rx: 2.5, class: "bed" }, this.svg);
    runs((step) => step.mistake, (stands, from, to) => stands && svg("rect", { x: x(from), y: lanes.mistake, width: Math.max(2, (to - from) * unit - gap), height: 11, rx: 2.5, fill: "url(#stands)" }, this.svg));
    svg("path", { d: `M${LEFT} ${lanes.who + 5.5}h${width}`, class: "grid" }, this.svg);
    steps.forEach((step, i) => {
      const cx = x(i) + unit / 2, cy = lanes.who + 5.5;
      if (step.source === "trip") svg("path", { d: `M${cx} ${cy - 5.5}l5 9.5h-10z`, fill: this.mistake }, this.svg);
      else if (step.source && step.source !== "model") svg("circle", { cx, cy, r: 3.2, class: "person" }, this.svg);
      else if (step.steer) svg("rect", { x: cx - Math.min(3, unit / 2), y: cy - 2.5, width: Math.min(6, unit), height: 5, class: "steered" }, this.svg);
    });
    const every = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((n) => n * unit > 40) || 1000;
    for (let i = 0; i < this.length; i += every) svg("text", { x: x(i) + unit / 2, y: bottom + 14, "text-anchor": "middle" }, this.svg, String(i));
    this.marker = svg("g", { class: "head" }, this.svg);
    svg("rect", { y: 1, height: bottom - 1, width: Math.max(2, unit), rx: 1.5, class: "beam" }, this.marker);
    svg("path", { d: `M${unit / 2} 1V${bottom}`, class: "line" }, this.marker);
    svg("circle", { cx: unit / 2, cy: 4, r: 4 }, this.marker);
    this.head(this.now);
  }

  head(now) {
    this.now = Math.min(this.length - 1, Math.max(0, now));
    this.marker?.setAttribute("transform", `translate(${LEFT + this.now * this.unit} 0)`);
    const step = this.steps[this.now];
    this.node.setAttribute("aria-valuemax", this.length - 1);
    this.node.setAttribute("aria-valuenow", this.now);
    this.node.setAttribute("aria-valuetext", step ? `click ${this.now}: ${step.text}, ${step.phase}${step.mistake ? ", a mistake stands" : ""}` : `click ${this.now}: the present screen`);
  }

  /** What the colours and lines stand for. */
  key() {
    const phases = [...new Set(this.steps.map((step) => step.phase))];
    return h("p", { class: "key" },
      this.curves.map(({ name, colour, dash }) => h("span", {}, h("i", { class: dash ? "stroke dashed" : "stroke", style: `--c:${colour}` }), name)),
      Object.keys(this.colours).filter((phase) => phases.includes(phase)).map((phase) => h("span", {}, h("i", { style: `--c:${this.colours[phase]}` }), phase)),
      h("span", {}, h("i", { class: "hatch" }), "a mistake stands"));
  }
}
