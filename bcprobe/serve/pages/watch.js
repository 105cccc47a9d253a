// Watching a model work: its click map, what it expects, what a probe reads in it; and taking a hand.
import { get, known, post, Refusal } from "./api.js";
import { world, worldForm } from "./choose.js";
import { field, h, percent, Scope, select, toast, words } from "./dom.js";
import { go } from "./main.js";
import { Screen } from "./screen.js";
import { Timeline } from "./timeline.js";

const SPEEDS = [[1, "1 / s"], [3, "3 / s"], [8, "8 / s"], [30, "fast"]];
const LINKED = ["model", "pointer", "trip"];

export async function build(query) {
  const about = await known();
  if (query.get("run")) return new Watch(about, query).build();
  if (query.get("clicks")) return linked(about, query);
  return start(about, query);
}

function start(about, query) {
  const checkpoint = select(about.checkpoints.map((name) => [name, name]), about.checkpoint, { onchange: () => mark() });
  const temperature = select([[0, "0 (likeliest clicks)"], [0.5, "0.5"], [1, "1 (as it learned)"]], 0);
  const trained = () => about.trained[checkpoint.value]?.length ? about.trained[checkpoint.value] : about.tasks.map((task) => task.name);
  const given = query.get("task") ? { task: query.get("task"), world_seed: Number(query.get("seed")), layout: query.get("layout"), difficulty: query.get("difficulty") } : {};
  if (!given.task) given.task = trained()[0];
  const form = worldForm(about, {
    verb: "Watch", title: "Watch a model", tasks: trained, start: given,
    lead: "A checkpoint works a world on its own. See where it would click and what a probe reads in it; take over, trip it up, or push it along the mistake direction.",
    extra: () => [field("Checkpoint", checkpoint), field("Temperature", temperature)],
    onBegin: async (world) => {
      try {
        const made = await post("/api/watch", { ...world, checkpoint: checkpoint.value, temperature: Number(temperature.value) });
        go(`/watch?run=${made.id}`);
      } catch (error) { toast(error.message, "bad"); }
    },
  });
  function mark() {
    form.querySelectorAll(".task").forEach((card) => {
      const task = about.tasks.find((one) => one.name === card.dataset.task);
      card.querySelector(".note").textContent = !trained().includes(task.name) ? "not trained on" : task.held_out ? "held out" : "";
    });
  }
  return { node: h("div", {}, form), scope: new Scope(), title: "Watch" };
}

/** A link that holds a whole run: make it again here. */
async function linked(about, query) {
  const clicks = unpack(query.get("clicks"));
  const made = await post("/api/watch", {
    task: query.get("task"), world_seed: Number(query.get("seed")), layout: query.get("layout") || "original",
    difficulty: query.get("difficulty") || "default", checkpoint: query.get("checkpoint") || "", temperature: Number(query.get("temperature") || 0), clicks,
  });
  const address = new URLSearchParams({ run: made.id, step: query.get("step") || String(made.count) });
  history.replaceState(null, "", `/watch?${address}`);
  return new Watch(about, address).build();
}

/** Clicks [x, y, source] as letters, four each: 9 bits, 9 bits, 3 bits, 3 free. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
export function pack(steps) {
  return steps.map(({ x, y, source }) => {
    const value = (x << 15) | (y << 6) | (Math.max(0, LINKED.indexOf(source)) << 3);
    return [18, 12, 6, 0].map((shift) => ALPHABET[(value >> shift) & 63]).join("");
  }).join("");
}
export function unpack(text) {
  return (text.match(/.{4}/g) || []).map((four) => {
    const value = [...four].reduce((sum, letter) => sum * 64 + Math.max(0, ALPHABET.indexOf(letter)), 0);
    return [(value >> 15) & 511, (value >> 6) & 511, (value >> 3) & 7];
  });
}

/** One run: its screen and what the server knows of it. */
class Run {
  constructor(label, owner) {
    this.owner = owner;
    this.screen = new Screen({ label, onClick: (x, y) => owner.clicked(this, x, y), most: 960 });
    this.now = null;
    this.steps = [];
  }
  async load(id) { this.take(await get(`/api/sessions/${id}`)); }
  take(view) {
    this.view = view;
    this.steps = [...this.steps.slice(0, view.first), ...view.steps];
    if ("now" in view) this.now = view.now;
  }
  /** Ask for something; the answer's clicks are added. */
  async ask(what) {
    const found = await post(`/api/sessions/${this.view.id}/watch`, { ...what, count: this.view.count });
    this.take(found);
    return found;
  }
  /** What stood before click `step`: kept readings, or the present look. */
  reading(step) {
    if (step < this.steps.length) return this.steps[step];
    const read = this.now?.reading;
    return read ? { p_undo: read.p_undo, p_done: read.p_done, cls: read.mistake.cls, placed: read.mistake.placed, steer: read.steer, mistake: this.view.stands } : null;
  }
  async draw(step, heat) {
    const present = step >= this.steps.length;
    const source = present ? this.view.picture : `/api/sessions/${this.view.id}/frame/${step}`;
    await this.screen.show(source);
    const before = this.steps[step - 1];
    this.screen.warm(heat && present && this.now ? this.now.heat : null);
    this.screen.mark({
      before: before ? [before.x, before.y] : null,
      click: present ? null : [this.steps[step].x, this.steps[step].y],
      choice: heat && present && this.now ? this.now.choice : null,
    });
  }
}

class Watch {
  constructor(about, query) {
    this.about = about;
    this.query = query;
    this.scope = new Scope();
    this.run = new Run("The model's screen", this);
    this.twin = null;
    this.playing = false;
    this.busy = false;
    this.over = false;
    this.heat = true;
  }

  async build() {
    await this.run.load(this.query.get("run"));
    const view = this.run.view;
    if (view.kind !== "watch") return { node: h("p", {}, "This is a person's session: ", h("a", { href: `/annotate?session=${view.id}` }, "open it")), scope: this.scope };
    this.step = Math.min(view.count, Number(this.query.get("step") ?? view.count));
    this.model = null;
    const { colours, phases, mistake } = this.about;
    this.timeline = new Timeline({
      colours: phases, mistake, onSeek: (step) => this.seek(step),
      curves: [
        { name: "P(Undo)", colour: "var(--ink)", value: (step) => step.p_undo },
        { name: "probe at [cls]", colour: colours.vermillion, value: (step) => step.cls },
        { name: "probe at the placed patch", colour: colours.orange, dash: "4 3", value: (step) => step.placed },
      ],
    });
    this.key = h("div", {});
    this.title = h("p", { class: "note" });
    this.playButton = h("button", { class: "main", "aria-keyshortcuts": "Space", onclick: () => this.play(!this.playing) }, "Play");
    this.back = h("button", { "aria-label": "One click back", title: "One click back", onclick: () => this.seek(this.step - 1) }, "◀");
    this.forth = h("button", { "aria-label": "One click on", title: "One click on", onclick: () => this.forward() }, "▶");
    this.last = h("button", { "aria-label": "To the present screen", title: "To the present screen", onclick: () => this.seek(this.run.view.count) }, "Now");
    this.speed = select(SPEEDS, 3, { "aria-label": "Speed" });
    this.warm = select([[0, "T 0"], [0.25, "T 0.25"], [0.5, "T 0.5"], [0.75, "T 0.75"], [1, "T 1"], [1.5, "T 1.5"]], view.settings.temperature, { "aria-label": "Temperature", onchange: () => this.act({ do: "temperature", temperature: Number(this.warm.value) }) });
    if (!this.warm.value) this.warm.value = 0;
    const heat = h("button", { "aria-pressed": "true", onclick: (event) => { this.heat = !this.heat; event.target.setAttribute("aria-pressed", String(this.heat)); this.draw(); } }, "Click map");
    this.hand = h("button", { "aria-pressed": "false", "aria-keyshortcuts": "t", onclick: () => this.takeOver(!this.over) }, "Take over");
    this.meters = this.makeMeters();
    this.truth = h("p", { class: "truth" });
    this.said = h("p", { class: "said", role: "status", "aria-live": "polite" });
    this.halves = h("div", { class: "stage" });
    this.aside = h("aside", { class: "side" },
      h("section", { class: "card" }, h("h2", {}, "Inside the model"), this.meters.node, this.truth, this.trained = h("p", { class: "note" })),
      this.tripCard(), this.steerCard(), this.lensCard(),
      h("details", { class: "card" }, h("summary", {}, "Keep and share"), h("p", { class: "row" },
        h("button", { onclick: () => this.copy() }, "Copy link"), h("a", { class: "button", href: "/api/export/models", download: "" }, "Runs as Parquet"),
        h("a", { class: "button", href: `/explore?a=0-${view.id}` }, "Open in Explore")),
      h("p", { class: "note" }, "The link holds the world and every click; the run itself is kept by this server as it goes.")));
    this.main = h("div", { class: "half" }, this.halves,
      h("div", { class: "play", role: "group", "aria-label": "Playing" }, this.playButton, this.back, this.forth, this.last, this.speed, this.warm, h("span", { class: "grow" }), heat, this.hand),
      this.said, this.timeline.node, this.key);
    const node = h("div", { class: "work" },
      h("div", { class: "head" }, h("h1", {}, view.title), this.title),
      h("div", { class: "stage" }, this.main, this.aside));
    this.place();
    this.keys();
    return { node, scope: this.scope, title: `Watch: ${view.title}`, shown: () => this.begin() };
  }

  async begin() {
    this.run.screen.fit();
    await this.draw();
    this.trained.textContent = "The model is waking up…";
    try {
      this.model = await get(`/api/models/${encodeURIComponent(this.run.view.settings.checkpoint)}`);
      this.know();
      await this.act({ do: "look" });
      await this.fill();
    } catch (error) { toast(error.message, "bad"); }
  }

  /** Let the model look at clicks that came with a link, a few at a time. */
  async fill() {
    const { run } = this, id = run.view.id;
    for (let first = 0; first < run.steps.length; first++) {
      if (run.steps[first].p_undo !== null || run.view.id !== id) continue;
      const last = Math.min(run.steps.length - 1, first + 24);
      const found = await get(`/api/sessions/${id}/readings/${first}/${last}`);
      if (run.view.id !== id || !this.timeline.node.isConnected) return;
      found.forEach(({ p_undo, p_done, cls, placed }, i) => Object.assign(run.steps[first + i], { p_undo, p_done, cls, placed }));
      await this.draw();
    }
  }

  /** What the read-out is; asked for again while it is still being fitted. */
  know() {
    const { readout, problem } = this.model;
    if (!readout) {
      this.trained.textContent = problem || "The mistake probe of this checkpoint is being fitted; minutes the first time.";
      this.waiting ??= setInterval(async () => {
        this.model = await get(`/api/models/${encodeURIComponent(this.model.checkpoint)}`).catch(() => this.model);
        if (this.model.readout) { clearInterval(this.waiting); this.know(); this.act({ do: "look" }); }
      }, 5000);
      this.scope.ends.push(() => clearInterval(this.waiting));
      return;
    }
    const auc = (token) => readout.auc[token][readout.best[token]].toFixed(3);
    this.trained.textContent = `Probes fitted on ${readout.episodes} episodes of ${readout.tasks === 1 ? "this task" : `each of ${readout.tasks} tasks`}; on as many others they reach AUC ${auc("cls")} at [cls] after layer ${readout.best.cls} and ${auc("placed")} at the patch after layer ${readout.best.placed}.`;
    if (!this.site.options.length) {
      this.site.replaceChildren(...readout.sites.map((_, i) => h("option", { value: i }, i ? `after layer ${i}` : "embedding")));
      this.site.value = readout.best.cls;
    }
    if (!this.layer.max || this.layer.max !== String(this.model.layers)) {
      this.layer.max = this.model.layers;
      this.layer.value = Math.ceil(this.model.layers / 2);
      this.headOf.replaceChildren(h("option", { value: -1 }, "mean of heads"), ...Array.from({ length: this.model.heads }, (_, i) => h("option", { value: i }, `head ${i + 1}`)));
    }
  }

  makeMeters() {
    const { colours } = this.about;
    const make = (name, colour) => {
      const value = h("b", {}, "–"), bar = h("i", { style: `--c:${colour}` });
      return { value, bar, node: h("div", { class: "meter" }, h("span", {}, name), value, h("span", { class: "bar" }, bar)) };
    };
    const all = { p_undo: make("P(Undo) next", "var(--ink)"), cls: make("A mistake stands, read at [cls]", colours.vermillion), placed: make("…read at the placed patch", colours.orange) };
    return { ...all, node: h("div", { class: "meters" }, Object.values(all).map((one) => one.node)) };
  }

  tripCard() {
    this.distance = h("input", { type: "range", min: 0, max: 60, step: 1, value: 20, "aria-label": "How far off, px", oninput: () => (shown.value = `${this.distance.value} px off`) });
    const shown = h("output", {}, "20 px off");
    this.tripButton = h("button", { class: "warm", onclick: () => this.trip() }, "Trip it up");
    this.trips = h("ul", { class: "log" });
    return h("section", { class: "card control" }, h("h2", {}, "Trip it up"),
      h("p", { class: "note" }, "It works on to its next placement; that is put so far off from where it wanted it. Does it undo?"),
      h("div", { class: "line" }, h("label", {}, this.distance), shown), h("p", { class: "row" }, this.tripButton), this.trips);
  }

  steerCard() {
    this.site = h("select", { "aria-label": "Site", onchange: () => this.steer() });
    this.token = select([["cls", "[cls]"], ["placed", "placed patch"]], "cls", { "aria-label": "Token", onchange: () => this.steer() });
    this.amount = h("input", { type: "range", min: -8, max: 8, step: 0.25, value: 0, "aria-label": "Along the mistake direction, in separations", oninput: () => (shown.value = this.told()), onchange: () => this.steer() });
    const shown = this.shownAmount = h("output", {}, "off");
    return h("section", { class: "card control" }, h("h2", {}, "Steer"),
      h("p", { class: "note" }, "Push the residual stream along the mistake direction at every look from here on; its unsteered twin works beside it."),
      h("div", { class: "fields" }, field("Site", this.site), field("Token", this.token)),
      h("div", { class: "line" }, h("label", {}, this.amount), shown),
      h("p", { class: "row" }, h("button", { onclick: () => { this.amount.value = 0; shown.value = "off"; this.steer(); } }, "Off"),
        this.alone = h("button", { hidden: true, onclick: () => this.part() }, "Close the twin")));
  }
  told() { const value = Number(this.amount.value); return value ? `${value > 0 ? "+" : "−"}${Math.abs(value)} sep.` : "off"; }

  lensCard() {
    this.layer = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Layer", oninput: () => this.apart() });
    this.headOf = h("select", { "aria-label": "Head", onchange: () => this.apart() });
    this.what = select([["off", "nothing"], ["lens", "click lens"], ["attention", "attention of [cls]"]], "off", { "aria-label": "What to show", onchange: () => this.apart() });
    this.layerShown = h("output", {}, "");
    this.lensSaid = h("p", { class: "note" });
    return h("details", { class: "card control" }, h("summary", {}, "Look inside: lens and attention"),
      h("div", { class: "fields" }, field("Show", this.what), field("Head", this.headOf)),
      h("div", { class: "line" }, h("label", {}, this.layer), this.layerShown), this.lensSaid);
  }

  place() {
    this.halves.classList.toggle("pair", Boolean(this.twin));
    const side = (run, title, note) => h("div", { class: "half" }, this.twin && h("h3", {}, title, h("span", { class: "note" }, note)), run.screen.frame);
    this.halves.style.gridTemplateColumns = this.twin ? "" : "minmax(0, 1fr)";
    this.halves.replaceChildren(...[side(this.run, "Steered", this.told()), this.twin && side(this.twin, "Unsteered twin", this.twinNote())].filter(Boolean));
  }
  twinNote() {
    const steps = this.twin.steps.length;
    return this.twin.view.done ? `finished, score ${this.twin.view.score.toFixed(2)}` : `click ${steps}`;
  }

  async draw() {
    const { view, steps } = this.run, step = this.step;
    const present = step >= steps.length;
    await this.run.draw(step, this.heat && !(this.apartShown && this.what.value !== "off"));
    if (this.twin) { await this.twin.draw(Math.min(step, this.twin.steps.length), this.heat); this.place(); }
    this.timeline.set(steps, step, view.done ? 0 : 1);
    this.key.replaceChildren(this.timeline.key());
    const read = this.run.reading(step);
    for (const name of ["p_undo", "cls", "placed"]) {
      const value = read?.[name];
      this.meters[name].value.textContent = percent(value);
      this.meters[name].bar.style.width = `${100 * (value ?? 0)}%`;
    }
    const stands = present ? view.stands : steps[step].mistake;
    this.truth.className = `truth${stands ? " stands" : ""}`;
    this.truth.replaceChildren(h("i"), stands ? "In truth a mistake stands" : "In truth no mistake stands");
    this.title.textContent = `${view.settings.checkpoint} · ${world(this.about, view.world_seed).toLowerCase()} · ${words(view.layout)} layout · click ${step} of ${view.count}${view.done ? ` · finished, score ${view.score.toFixed(2)}` : ""}`;
    this.trips.replaceChildren(...view.trips.map((trip) => h("li", {}, `Click ${trip.step}: `, !trip.stood ? "no mistake came of it" :
      trip.undo !== null ? `undone after ${trip.undo - trip.step} ${trip.undo - trip.step === 1 ? "click" : "clicks"} ✓` : trip.cleared !== null ? "put right without Undo" : "a mistake stands, not undone yet")));
    this.back.disabled = step === 0;
    this.forth.disabled = present && view.done;
    this.tripButton.disabled = this.playButton.disabled = this.hand.disabled = view.done && present;
    this.run.screen.node.classList.toggle("mine", this.over);
    history.replaceState(null, "", `/watch?${new URLSearchParams({ run: view.id, step: String(step) })}`);
  }

  /** Ask the model's side for something, one at a time, and draw what came of it. */
  async act(what, both = false) {
    if (this.busy) return null;
    this.busy = true;
    try {
      const found = await this.run.ask(what);
      if (both && this.twin && !this.twin.view.done) await this.twin.ask({ do: "step" });
      this.step = this.run.view.count;
      if (what.do !== "look") this.apartShown = false;
      await this.draw();
      if (found.said) this.said.textContent = found.said;
      else if (found.steps.length) this.said.textContent = found.steps.at(-1).text;
      return found;
    } catch (error) {
      this.play(false);
      if (error instanceof Refusal && error.status === 409) {
        this.run.steps = [];
        await this.run.load(this.run.view.id);
        this.step = this.run.view.count;
        await this.draw();
        toast("Another tab went on here; this is where it is now");
      } else toast(error.message, "bad");
      return null;
    } finally { this.busy = false; }
  }

  seek(step) {
    this.play(false);
    this.step = Math.min(this.run.view.count, Math.max(0, step));
    this.apartShown = false;
    this.draw().then(() => this.what.value !== "off" && this.apart());
  }

  async forward() {
    if (this.step < this.run.view.count) return this.seek(this.step + 1);
    if (!this.run.view.done) await this.act({ do: "step" }, true);
  }

  async play(on) {
    if (on === this.playing) return;
    this.playing = on;
    this.playButton.textContent = on ? "Pause" : "Play";
    if (on && this.over) this.takeOver(false);
    while (this.playing && this.timeline.node.isConnected) {
      const began = performance.now();
      if (this.step < this.run.view.count) { this.step++; await this.draw(); }
      else if (this.run.view.done || !(await this.act({ do: "step" }, true))) break;
      if (this.run.view.done && this.step >= this.run.view.count) break;
      await new Promise((done) => setTimeout(done, Math.max(0, 1000 / Number(this.speed.value) - (performance.now() - began))));
    }
    this.playing = false;
    this.playButton.textContent = "Play";
  }

  /** Go on from an earlier screen in a run of its own; the one so far stays as it is. */
  async branch() {
    if (this.step >= this.run.view.count) return;
    const found = await post(`/api/sessions/${this.run.view.id}/fork`, { count: this.step });
    this.run.steps = [];
    this.run.now = null;
    this.run.take(found);
    toast(`A new run from click ${this.step}; the other one is kept`);
    await this.act({ do: "look" });
  }

  async takeOver(on) {
    this.play(false);
    if (on) { try { await this.branch(); } catch (error) { return toast(error.message, "bad"); } }
    this.over = on;
    this.hand.setAttribute("aria-pressed", String(on));
    this.hand.textContent = on ? "Hand back" : "Take over";
    this.said.textContent = on ? "Your clicks count now; hand back when you like." : "The model clicks again.";
    this.draw();
    if (on) this.run.screen.node.focus({ preventScroll: true });
  }

  clicked(run, x, y) {
    if (run !== this.run) return;
    if (!this.over) { this.said.textContent = "Take over first, then click."; return; }
    this.act({ do: "click", x, y });
  }

  async trip() {
    this.play(false);
    await this.branch();
    this.said.textContent = "It works on to its next placement…";
    await this.act({ do: "trip", distance: Number(this.distance.value) });
  }

  async steer() {
    this.play(false);
    await this.branch();
    const amount = Number(this.amount.value);
    if (amount && !this.twin) {
      const twin = new Run("The unsteered twin's screen", this);
      twin.take(await post(`/api/sessions/${this.run.view.id}/fork`, { count: this.run.view.count }));
      await twin.ask({ do: "look" });
      this.twin = twin;
      this.alone.hidden = false;
      this.place();
    }
    await this.act({ do: "steer", site: Number(this.site.value || 0), token: this.token.value, amount });
  }

  part() {
    this.twin = null;
    this.alone.hidden = true;
    this.place();
    this.draw();
  }

  /** Click lens or attention at the screen shown. */
  async apart() {
    const layer = Number(this.layer.value);
    this.layerShown.value = layer ? `after layer ${layer}` : "embedding";
    if (this.what.value === "off") { this.apartShown = false; this.lensSaid.textContent = ""; return this.draw(); }
    const at = `${this.run.view.id}/${this.step}`;
    if (this.apartAt !== at) {
      this.lensSaid.textContent = "Looking…";
      try { this.taken = await get(`/api/sessions/${this.run.view.id}/apart/${this.step}`); } catch (error) { return toast(error.message, "bad"); }
      this.apartAt = at;
    }
    this.apartShown = true;
    if (this.what.value === "lens") {
      this.run.screen.warm(this.taken.lens[layer]);
      this.lensSaid.textContent = `The click map read from the residual stream ${layer ? `after layer ${layer}` : "before the first layer"}; the most probable spot holds ${percent(this.taken.lens[layer].peak)}.`;
    } else {
      const heads = this.taken.attention[Math.max(1, layer) - 1], head = Number(this.headOf.value);
      const map = head < 0 ? average(heads) : heads[head];
      this.run.screen.warm(map, true);
      this.lensSaid.textContent = `Attention of [cls] in layer ${Math.max(1, layer)} to this screen's patches: ${percent(map.sum)} of its weight lies here.`;
    }
  }

  async copy() {
    const { view, steps } = this.run;
    const address = new URLSearchParams({
      task: view.task, seed: String(view.world_seed), layout: view.layout, difficulty: view.difficulty, checkpoint: view.settings.checkpoint,
      temperature: String(view.settings.temperature), step: String(this.step), clicks: pack(steps),
    });
    try { await navigator.clipboard.writeText(`${location.origin}/watch?${address}`); toast("The link is copied"); }
    catch { prompt("The link:", `${location.origin}/watch?${address}`); }
  }

  keys() {
    this.scope.ends.push(() => (this.playing = false));
    this.scope.on(document, "keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, summary")) return;
      if (event.key === " " && event.target.closest("button, a")) return;
      const work = { " ": () => this.play(!this.playing), ArrowRight: () => this.forward(), ArrowLeft: () => this.seek(this.step - 1), t: () => this.takeOver(!this.over), Home: () => this.seek(0), End: () => this.seek(1e6) }[event.key];
      if (!work) return;
      event.preventDefault();
      work();
    });
  }
}

/** Mean of maps of one layer's heads. */
function average(heads) {
  const bytes = heads.map((head) => [Uint8Array.from(atob(head.data), (letter) => letter.charCodeAt(0)), head.peak]);
  const values = Array.from(bytes[0][0], (_, i) => bytes.reduce((sum, [own, peak]) => sum + (own[i] / 255) ** 2 * peak, 0) / bytes.length);
  const peak = Math.max(...values) || 1;
  const data = btoa(String.fromCharCode(...values.map((value) => Math.round(255 * Math.sqrt(value / peak)))));
  return { ...heads[0], data, peak, sum: heads.reduce((sum, head) => sum + head.sum, 0) / heads.length };
}
