// A screen of 480 x 360 px: shown sharp at any size, with what lies over it.
import { h, svg } from "./dom.js";

export const WIDTH = 480, HEIGHT = 360;

/** How strongly a level 0-63 shows over the picture, [r, g, b, a]; perceptually rising. */
const LEVELS = 63;
const RAMP = Array.from({ length: LEVELS + 1 }, (_, v) => {
  const t = v / LEVELS;
  const mix = (a, b, s) => Math.round(a + (b - a) * s);
  const [from, to, s] = t < 0.5 ? [[94, 32, 160], [232, 74, 60], t * 2] : [[232, 74, 60], [255, 226, 90], t * 2 - 1];
  return [mix(from[0], to[0], s), mix(from[1], to[1], s), mix(from[2], to[2], s), Math.round(165 * Math.min(1, 1.6 * t))];
});
const COOL = Array.from({ length: LEVELS + 1 }, (_, v) => {
  const t = v / LEVELS;
  return [Math.round(20 + 66 * t), Math.round(90 + 140 * t), Math.round(170 + 75 * t), Math.round(165 * t)];
});

/** Bytes of a map {width, height, peak, data}: `data` is base64 of deflated bytes. */
const BYTES = new WeakMap();
export function bytesOf(map) {
  if (!BYTES.has(map)) {
    const packed = Uint8Array.from(atob(map.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    BYTES.set(map, new Response(stream).arrayBuffer().then((buffer) => new Uint8Array(buffer)));
  }
  return BYTES.get(map);
}

/** Mean of maps of one size, which hold `round(63 sqrt(value / peak))`. */
export async function average(maps) {
  const { width, height } = maps[0], values = new Float64Array(width * height);
  for (const map of maps) (await bytesOf(map)).forEach((byte, i) => (values[i] += (byte / LEVELS) ** 2 * map.peak / maps.length));
  const peak = Math.max(...values) || 1;
  const mean = { width, height, peak, sum: maps.reduce((sum, map) => sum + map.sum, 0) / maps.length };
  BYTES.set(mean, Promise.resolve(Uint8Array.from(values, (value) => Math.round(LEVELS * Math.sqrt(value / peak)))));
  return mean;
}

export class Screen {
  /**
   * `label` names it aloud; `onClick(x, y, how, event)` makes it answer clicks by pointer and, with
   * the arrow keys and Enter, by keyboard, while `answers` is on. `colour`: of the click marked; `below`: px of the window
   * to leave for what stands under it.
   */
  constructor({ label, colour, onClick = null, answers = true, below = 0 }) {
    this.onClick = onClick;
    this.colour = colour;
    this.below = below;
    this.canvas = h("canvas", { width: WIDTH, height: HEIGHT, class: "picture", "aria-hidden": "true" });
    this.double = h("canvas", { width: 2 * WIDTH, height: 2 * HEIGHT, "aria-hidden": "true" });
    this.heat = h("canvas", { width: 160, height: 120, class: "heat", "aria-hidden": "true" });
    this.over = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "over", "aria-hidden": "true" });
    this.node = h("div", { class: "screen", "aria-label": label }, this.canvas, this.double, this.heat, this.over);
    this.answering(Boolean(onClick) && answers);
    this.frame = h("div", { class: "frame" }, this.node);
    this.cursor = null;
    this.turn = 0;
    this.node.addEventListener("pointerdown", (event) => this.pressed(event));
    this.node.addEventListener("keydown", (event) => this.keyed(event));
    this.node.addEventListener("blur", () => { this.cursor = null; this.mark(); });
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(this.frame);
    this.marks = {};
  }

  /** Whether the arrow keys move a cross here, and Enter clicks. */
  answering(on) {
    this.answers = on;
    this.node.setAttribute("role", on ? "application" : "img");
    if (on) this.node.setAttribute("aria-roledescription", "annotation screen; arrow keys move a cross, Enter clicks");
    else this.node.removeAttribute("aria-roledescription");
    if (on) this.node.tabIndex = 0;
    else this.node.removeAttribute("tabindex");
  }

  /**
   * Whole device pixels to a pixel where they fill most of the room: doubled, tripled, never blurred.
   * Else the picture is doubled and scaled down by the browser: every pixel keeps a sharp core.
   */
  fit() {
    const dense = devicePixelRatio || 1;
    const room = Math.min(this.frame.clientWidth, 2 * WIDTH, Math.max(WIDTH, (innerHeight - 120 - this.below) * WIDTH / HEIGHT));
    const times = Math.floor(room * dense / WIDTH), whole = times * WIDTH / dense;
    const fits = times >= 1 && whole >= 0.8 * room;
    const width = fits ? whole : Math.floor(room / 4) * 4;
    this.node.style.width = `${width}px`;
    this.node.style.height = `${width * HEIGHT / WIDTH}px`;
    this.canvas.style.imageRendering = "pixelated";
    this.double.hidden = fits;
    this.redouble();
  }

  redouble() {
    if (this.double.hidden) return;
    const context = this.double.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, 2 * WIDTH, 2 * HEIGHT);
  }

  /** Draw a picture, by address; resolves once it is on the screen, to false if another overtook it. */
  async show(source) {
    const mine = ++this.turn;
    const image = new Image();
    image.src = source;
    await image.decode();
    if (mine !== this.turn) return false;
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    this.redouble();
    return true;
  }

  /** Lay a map over the picture, or none. `cool`: in the colours of attention. */
  async warm(map, cool = false) {
    this.map = map;
    const bytes = map && await bytesOf(map);
    if (this.map !== map) return;
    const context = this.heat.getContext("2d");
    if (!map) { context.clearRect(0, 0, this.heat.width, this.heat.height); return; }
    this.heat.width = map.width;
    this.heat.height = map.height;
    const image = context.createImageData(map.width, map.height);
    const ramp = cool ? COOL : RAMP;
    bytes.forEach((value, i) => image.data.set(ramp[value], 4 * i));
    context.putImageData(image, 0, 0);
    this.heat.style.imageRendering = map.width < 60 ? "pixelated" : "auto";
  }

  /** Mark points: `click` (about to be made), `before`, `choice` (the model's), each [x, y] or null. */
  mark(marks = this.marks) {
    const again = marks === this.marks;
    this.marks = marks;
    this.over.replaceChildren();
    const { click, before, choice } = marks;
    const ring = (x, y, r, colour, width) => svg("circle", { cx: x + 0.5, cy: y + 0.5, r, fill: "none", stroke: colour, "stroke-width": width }, this.over);
    const cross = (x, y, near, far, colour, width) => {
      const [cx, cy] = [x + 0.5, y + 0.5];
      svg("path", { d: `M${cx - far} ${cy}H${cx - near}M${cx + near} ${cy}H${cx + far}M${cx} ${cy - far}V${cy - near}M${cx} ${cy + near}V${cy + far}`,
        stroke: colour, "stroke-width": width, "stroke-linecap": "round", fill: "none" }, this.over);
    };
    const from = before && click ? Math.hypot(click[0] - before[0], click[1] - before[1]) : 0;
    if (from > 24) {
      const [ux, uy] = [(click[0] - before[0]) / from, (click[1] - before[1]) / from];
      const d = `M${before[0] + 0.5 + 7 * ux} ${before[1] + 0.5 + 7 * uy}L${click[0] + 0.5 - 16 * ux} ${click[1] + 0.5 - 16 * uy}`;
      for (const [stroke, width] of [["#0009", 3.2], ["#fffc", 1.2]]) svg("path", { d, stroke, "stroke-width": width, fill: "none" }, this.over);
    }
    if (before) { ring(...before, 5, "#000a", 3); ring(...before, 5, "#fffd", 1.4); }
    if (choice) { ring(...choice, 6.5, "#000a", 3.4); ring(...choice, 6.5, "#7fe0ff", 1.7); }
    if (click) {
      for (const [colour, width] of [["#000b", 4.2], [this.colour, 2]]) { cross(...click, 5, 14, colour, width); ring(...click, 8.5, colour, width); }
    }
    if (click && !again && !matchMedia("(prefers-reduced-motion: reduce)").matches) svg("circle", { cx: click[0] + 0.5, cy: click[1] + 0.5, r: 3, class: "ripple", fill: "none", stroke: this.colour, "stroke-width": 2.5 }, this.over);
    if (this.cursor) for (const [colour, width] of [["#000c", 3.6], ["#fff", 1.4]]) cross(...this.cursor, 3, 16, colour, width);
  }

  pressed(event) {
    if (!this.onClick || event.button !== 0) return;
    event.preventDefault();
    this.node.focus({ preventScroll: true });
    const box = this.node.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left) / box.width * WIDTH);
    const y = Math.floor((event.clientY - box.top) / box.height * HEIGHT);
    if (x < 0 || y < 0 || x >= WIDTH || y >= HEIGHT) return;
    this.cursor = null;
    this.onClick(x, y, "pointer", event);
  }

  keyed(event) {
    if (!this.answers || event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const by = event.shiftKey ? 1 : 6;
      const [x, y] = this.cursor || this.home || [WIDTH / 2, HEIGHT / 2];
      this.cursor = [Math.min(WIDTH - 1, Math.max(0, x + by * move[0])), Math.min(HEIGHT - 1, Math.max(0, y + by * move[1]))];
      this.home = this.cursor;
      this.mark();
    } else if ((event.key === "Enter" || event.key === " ") && this.cursor) {
      this.onClick(...this.cursor, "key", event);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
