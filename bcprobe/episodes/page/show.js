// The player of one file: an episode whose screens, and what a model made of it, lie in the page.
import { h, Scope, themed } from "./dom.js";
import { Inside } from "./inside.js";
import { Player, Playing, readCurves } from "./player.js";

const RATES = [[1, "1 / s"], [2, "2 / s"], [4, "4 / s"], [8, "8 / s"], [16, "16 / s"]];

class Show {
  constructor(data) {
    this.data = data;
    this.again = true;
    this.step = 0;
    this.player = new Player({
      episode: data, palette: data.palette, curves: readCurves(data.reads || []),
      picture: (step) => data.images[step < data.steps.length ? data.steps[step].image : data.closing], onSeek: (step) => this.playing.seek(step),
    });
    this.playing = new Playing(this, { rates: RATES, rate: 4, live: [this.player.said] });
    if (data.moments) this.inside = new Inside(() => this.lay());
  }
  get last() { return this.player.last; }
  nextMistake(step) { return this.player.nextMistake(step); }
  async seek(step) {
    this.step = Math.min(this.last, Math.max(0, step));
    await this.player.to(this.step);
    await this.lay();
  }
  async forward() {
    if (this.step >= this.last) return false;
    await this.seek(this.step + 1);
    return true;
  }
  /** Lay the click map, or what was chosen of the model, over the screen. */
  async lay() {
    const { screen } = this.player, found = this.data.moments?.[this.step];
    if (!this.data.moments) return;
    if (!found) return screen.warm(null);
    this.inside.shape(found.lens.length - 1, found.attention[0].length);
    if (!this.inside.on) await screen.warm(found.lens.at(-1));
    await this.inside.show(screen, found);
  }
  build() {
    const { data, player, playing } = this;
    if (data.within) document.documentElement.dataset.within = "";
    playing.keys(new Scope());
    const side = h("aside", { class: "side", "aria-label": "The click" }, player.card,
      this.inside && h("section", { class: "card control" }, h("h2", {}, "Look inside"), this.inside.nodes));
    return [
      h("div", { class: "head" }, h("h1", {}, data.title), h("p", { class: "note" }, data.about),
        h("span", { class: data.success ? "badge good" : "badge" }, data.outcome), this.theme = h("button", { class: "quiet", "aria-label": "Dark or light", title: "Dark or light" }, "◐")),
      h("div", { class: "stage one" }, h("div", { class: "half" }, player.screen.frame, player.said, playing.node), side),
      player.timeline.node, player.timeline.key(),
      h("footer", { class: "note" }, data.foot.map(([name, value]) => h("span", {}, `${name} `, h("code", {}, value)))),
    ];
  }
}

const show = new Show(JSON.parse(document.getElementById("data").textContent));
document.getElementById("main").append(...show.build());
themed(show.theme, "bcprobe-theme");
show.player.screen.fit();
show.seek(show.data.first || 0);
