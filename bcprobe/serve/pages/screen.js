// A screen of 480 x 360 px: shown in whole multiples of its pixels, with what lies over it.
import { h, svg } from "./dom.js";

export const WIDTH = 480, HEIGHT = 360;

/** How strongly a value 0-255 shows over the picture, [r, g, b, a]; perceptually rising. */
const RAMP = Array.from({ length: 256 }, (_, v) => {
  const t = v / 255;
  const mix = (a, b, s) => Math.round(a + (b - a) * s);
  const [from, to, s] = t < 0.5 ? [[94, 32, 160], [232, 74, 60], t * 2] : [[232, 74, 60], [255, 226, 90], t * 2 - 1];
  return [mix(from[0], to[0], s), mix(from[1], to[1], s), mix(from[2], to[2], s), Math.round(230 * Math.min(1, 1.35 * t))];
});
const COOL = Array.from({ length: 256 }, (_, v) => {
  const t = v / 255;
  return [Math.round(20 + 66 * t), Math.round(90 + 140 * t), Math.round(170 + 75 * t), Math.round(165 * t)];
});

export class Screen {
  /**
   * `label` names it aloud; `onClick(x, y, how, event)` makes it answer clicks by pointer and, with
   * the arrow keys and Enter, by keyboard.
   */
  constructor({ label, onClick = null, most = 960 }) {
    this.onClick = onClick;
    this.most = most;
    this.canvas = h("canvas", { width: WIDTH, height: HEIGHT, class: "picture" });
    this.heat = h("canvas", { width: 160, height: 120, class: "heat" });
    this.over = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "over", "aria-hidden": "true" });
    this.node = h("div", { class: "screen", tabIndex: 0, role: onClick ? "application" : "img", "aria-label": label },
      this.canvas, this.heat, this.over);
    if (onClick) this.node.setAttribute("aria-roledescription", "annotation screen; arrow keys move a cross, Enter clicks");
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

  /** Whole device pixels to a pixel where there is room for them: doubled, tripled, never blurred. */
  fit() {
    const dense = devicePixelRatio || 1;
    const room = Math.min(this.frame.clientWidth, this.most, Math.max(320, (innerHeight - 120) * WIDTH / HEIGHT));
    const times = Math.floor(room * dense / WIDTH), whole = times * WIDTH / dense;
    const fits = times >= 1 && (whole >= 300 || whole >= room);  // on a small phone size counts more
    const width = fits ? whole : room;
    this.node.style.width = `${width}px`;
    this.node.style.height = `${width * HEIGHT / WIDTH}px`;
    this.canvas.style.imageRendering = fits ? "pixelated" : "auto";
  }

  /** Draw a picture, by address; resolves once it is on the screen, to false if another overtook it. */
  async show(source) {
    const mine = ++this.turn;
    const image = new Image();
    image.src = source;
    await image.decode();
    if (mine !== this.turn) return false;
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    return true;
  }

  /** Lay a map {width, height, data} over the picture, or none. `cool`: in the colours of attention. */
  warm(map, cool = false) {
    const context = this.heat.getContext("2d");
    if (!map) { context.clearRect(0, 0, this.heat.width, this.heat.height); return; }
    this.heat.width = map.width;
    this.heat.height = map.height;
    const bytes = Uint8Array.from(atob(map.data), (letter) => letter.charCodeAt(0));
    const image = context.createImageData(map.width, map.height);
    const ramp = cool ? COOL : RAMP;
    bytes.forEach((value, i) => image.data.set(ramp[value], 4 * i));
    context.putImageData(image, 0, 0);
    this.heat.style.imageRendering = map.width < 60 ? "pixelated" : "auto";
  }

  /** Mark points: `click` (about to be made), `before`, `choice` (the model's), each [x, y] or null. */
  mark(marks = this.marks) {
    this.marks = marks;
    this.over.replaceChildren();
    const { click, before, choice } = marks;
    const ring = (x, y, r, colour, width) => svg("circle", { cx: x + 0.5, cy: y + 0.5, r, fill: "none", stroke: colour, "stroke-width": width }, this.over);
    const cross = (x, y, near, far, colour, width) => {
      const [cx, cy] = [x + 0.5, y + 0.5];
      svg("path", { d: `M${cx - far} ${cy}H${cx - near}M${cx + near} ${cy}H${cx + far}M${cx} ${cy - far}V${cy - near}M${cx} ${cy + near}V${cy + far}`,
        stroke: colour, "stroke-width": width, "stroke-linecap": "round", fill: "none" }, this.over);
    };
    if (before) { ring(...before, 5, "#000a", 3); ring(...before, 5, "#fffd", 1.4); }
    if (choice) { ring(...choice, 6.5, "#000a", 3.4); ring(...choice, 6.5, "#7fe0ff", 1.7); }
    if (click) {
      for (const [colour, width] of [["#000b", 4.2], ["#ffd84d", 2]]) { cross(...click, 5, 14, colour, width); ring(...click, 8.5, colour, width); }
    }
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
    if (!this.onClick || event.ctrlKey || event.metaKey || event.altKey) return;
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
