// Watching a model work: its click map, what it expects, what a probe reads in it; and taking a hand.
import { get, known, post, Refusal } from "./api.js";
import { world, worldForm } from "./choose.js";
import { field, h, percent, Scope, select, toast, words } from "./dom.js";
import { go } from "./main.js";
import { Inside } from "./inside.js";
import { link, MOST_LINKED, unlink } from "./links.js";
import { Playing } from "./player.js";
import { Screen } from "./screen.js";
import { Timeline } from "./timeline.js";

const RATES = [[1, "1 / s"], [3, "3 / s"], [8, "8 / s"], [30, "fast"]];

export async function build(query) {
  const about = await known();
  if (query.get("run")) {
    try {
      return await new Watch(about, query).build();
    } catch (error) {
      if (error.status !== 404 || !query.has("clicks")) throw error;
    }
  }
  return query.has("clicks") ? linked(about, query) : start(about, query);
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

/** A link that holds a whole run, made elsewhere: make it again here, and its twin if it has one. */
async function linked(about, query) {
  const made = await post("/api/watch", unlink(query));
  const address = new URLSearchParams({ run: made.id, step: query.get("step") ?? String(made.count) });
  if (query.has("twin")) address.set("beside", (await post("/api/watch", unlink(query, "twin", "twinsteer"))).id);
  return new Watch(about, address).build();
}

/** One run: its screen and what the server knows of it. */
class Run {
  constructor(label, owner) {
    this.screen = new Screen({ label, colour: owner.about.palette.click, onClick: (x, y) => owner.clicked(this, x, y), answers: false, below: 300 });
    this.now = null;
    this.steps = [];
    this.seen = new Map();
  }
  async load(id) { this.take(await get(`/api/sessions/${id}`)); }
  /** Take in the server's answer: clicks from number `first` on, and the look at the present screen. */
  take(view) {
    if (this.view && this.now && view.first === this.view.count && view.count > view.first) this.seen.set(view.first, this.now);
    this.view = view;
    this.steps = [...this.steps.slice(0, view.first), ...view.steps];
    if ("now" in view) this.now = view.now;
  }
  /** Go on as another run that shares the clicks so far. */
  become(view) {
    this.seen = new Map([...this.seen].filter(([step]) => step < view.count));
    this.now = null;
    this.steps = [];
    this.view = null;
    this.take(view);
  }
  /** Ask for something; the answer's clicks are added. */
  async ask(what) {
    const found = await post(`/api/sessions/${this.view.id}/watch`, { ...what, count: this.view.count });
    this.take(found);
    return found;
  }
  /** What the model saw and would click at a screen, if that is known here. */
  at(step) { return step >= this.steps.length ? this.now : this.seen.get(step); }
  /** The same, asked for if it is not. */
  async find(step) {
    if (step < this.steps.length && !this.at(step)) this.seen.set(step, await get(`/api/sessions/${this.view.id}/seen/${step}`));
  }
  /** What stood before click `step`: kept readings, or the present look. */
  reading(step) {
    if (step < this.steps.length) return this.steps[step];
    const read = this.now?.reading;
    return read ? { p_undo: read.p_undo, p_done: read.p_done, cls: read.mistake.cls, placed: read.mistake.placed, steer: read.steer, mistake: this.view.stands } : null;
  }
  async draw(step, heat) {
    const present = step >= this.steps.length, look = heat ? this.at(step) : null;
    const source = present ? this.view.picture : `/api/sessions/${this.view.id}/frame/${step}`;
    if (!(await this.screen.show(source))) return;
    const before = this.steps[step - 1];
    this.screen.mark({
      before: before ? [before.x, before.y] : null,
      click: present ? null : [this.steps[step].x, this.steps[step].y],
      choice: look ? look.choice : null,
    });
    await this.screen.warm(look ? look.heat : null);
  }
}

class Watch {
  constructor(about, query) {
    Object.assign(this, { about, query, scope: new Scope(), twin: null, over: false, heat: true, busy: false, turn: Promise.resolve(), looking: null });
    this.run = new Run("The model's screen", this);
  }

  async build() {
    await this.run.load(this.query.get("run"));
    const view = this.run.view;
    if (view.kind !== "watch") return { node: h("p", {}, "This is a person's session: ", h("a", { href: `/annotate?session=${view.id}` }, "open it")), scope: this.scope };
    if (this.query.get("beside")) await this.openTwin(this.query.get("beside"));
    this.step = Math.min(view.count, Math.max(0, Number(this.query.get("step") ?? view.count) || 0));
    this.model = null;
    const { palette } = this.about, { vermillion, orange } = palette.series;
    this.timeline = new Timeline({
      palette, onSeek: (step) => this.playing.seek(step),
      curves: [
        { name: "P(Undo)", colour: "var(--ink)", value: (step) => step.p_undo },
        { name: "probe at [cls]", colour: vermillion, value: (step) => step.cls },
        { name: "probe at the placed patch", colour: orange, dash: "4 3", value: (step) => step.placed },
      ],
    });
    this.key = h("div", {});
    this.title = h("p", { class: "note" });
    this.said = h("p", { class: "said", role: "status", "aria-live": "polite" });
    this.playing = new Playing(this, { rates: RATES, rate: 3, live: [this.said] });
    this.nowButton = h("button", { "aria-label": "To the present screen", title: "To the present screen", "aria-keyshortcuts": "End", onclick: () => this.playing.seek(this.last) }, "Now");
    this.warm = select([[0, "T 0"], [0.25, "T 0.25"], [0.5, "T 0.5"], [0.75, "T 0.75"], [1, "T 1"], [1.5, "T 1.5"]], view.settings.temperature, { "aria-label": "Temperature", onchange: () => this.act({ do: "temperature", temperature: Number(this.warm.value) }) });
    if (!this.warm.value) this.warm.append(h("option", { value: view.settings.temperature, selected: true }, `T ${view.settings.temperature}`));
    this.mapButton = h("button", { "aria-pressed": "true", "aria-keyshortcuts": "h", onclick: () => this.showMap(!this.heat) }, "Click map");
    this.hand = h("button", { "aria-pressed": "false", "aria-keyshortcuts": "t", onclick: () => this.takeOver(!this.over) }, "Take over");
    this.playing.node.append(this.nowButton, this.warm, h("span", { class: "grow" }), this.mapButton, this.hand);
    this.meters = this.makeMeters();
    this.truth = h("p", { class: "truth" });
    this.halves = h("div", { class: "stage" });
    this.inside = new Inside(() => this.lookInside());
    this.aside = h("aside", { class: "side", "aria-label": "Inside the model, and taking a hand" },
      h("section", { class: "card" }, h("h2", {}, "Inside the model"), this.meters.node, this.truth, this.trained = h("p", { class: "note" })),
      this.tripCard(), this.steerCard(),
      h("details", { class: "card control" }, h("summary", {}, "Look inside: lens and attention"), this.inside.nodes),
      h("details", { class: "card" }, h("summary", {}, "Keep and share"), h("p", { class: "row" },
        h("button", { onclick: () => this.copy() }, "Copy link"), h("a", { class: "button", href: "/api/export/models", download: "" }, "Runs as Parquet"),
        this.inExplore = h("a", { class: "button" }, "Open in Explore")),
      h("p", { class: "note" }, "The link holds the world, every click and the steering, and works on any machine; the run itself is kept by this server as it goes.")));
    this.main = h("div", { class: "half" }, this.halves, this.said, this.playing.node, this.timeline.node, this.key);
    const node = h("div", { class: "work" },
      h("div", { class: "head" }, h("h1", {}, view.title), this.title),
      h("div", { class: "stage watching" }, this.main, this.aside));
    this.showSteer(view.settings.steer);
    this.place();
    this.playing.keys(this.scope, { t: () => this.takeOver(!this.over), h: () => this.showMap(!this.heat) });
    this.scope.ends.push(() => { clearTimeout(this.naming); clearTimeout(this.recalling); });
    return { node, scope: this.scope, title: `Watch: ${view.title}`, shown: () => this.begin() };
  }

  get last() { return this.run.view.count; }

  async openTwin(id) {
    const twin = new Run("The unsteered twin's screen", this);
    try { await twin.load(id); } catch (error) { if (error.status !== 404) throw error; return; }
    this.twin = twin;
  }

  async begin() {
    this.run.screen.fit();
    await this.draw();
    this.trained.textContent = "The model is waking up…";
    try {
      this.model = await get(`/api/models/${encodeURIComponent(this.run.view.settings.checkpoint)}`);
      this.know();
      if (this.twin) await this.twin.ask({ do: "look" });
      await this.act({ do: "look" }, { stay: true });
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
      found.forEach(({ p_undo, p_done, cls, placed, trip }, i) => Object.assign(run.steps[first + i], { p_undo, p_done, cls, placed, trip }));
      await this.draw();
    }
  }

  /** What the read-out is; asked for again while it is still being fitted. */
  know() {
    const { readout, problem } = this.model;
    this.inside.shape(this.model.layers, this.model.heads);
    for (const control of [this.site, this.token, this.amount, this.off]) control.disabled = !readout;
    if (!readout) {
      this.trained.textContent = problem || "The mistake probe of this checkpoint is being fitted; minutes the first time.";
      this.waiting ??= setInterval(async () => {
        this.model = await get(`/api/models/${encodeURIComponent(this.model.checkpoint)}`).catch(() => this.model);
        if (this.model.readout) { clearInterval(this.waiting); this.know(); this.act({ do: "look" }, { stay: true }); }
      }, 5000);
      this.scope.ends.push(() => clearInterval(this.waiting));
      return;
    }
    const auc = (token) => readout.auc[token][readout.best[token]].toFixed(3);
    this.trained.textContent = `Probes fitted on ${readout.episodes} episodes of ${readout.tasks === 1 ? "this task" : `each of ${readout.tasks} tasks`}; on as many others they reach AUC ${auc("cls")} at [cls] after layer ${readout.best.cls} and ${auc("placed")} at the patch after layer ${readout.best.placed}.`;
    if (!this.site.options.length) {
      this.site.replaceChildren(...readout.sites.map((_, i) => h("option", { value: i }, i ? `after layer ${i}` : "embedding")));
      this.site.value = this.run.view.settings.steer?.site ?? readout.best.cls;
    }
  }

  makeMeters() {
    const { series } = this.about.palette;
    const make = (name, colour) => {
      const value = h("b", {}, "–"), bar = h("i", { style: `--c:${colour}` });
      return { value, bar, node: h("div", { class: "meter" }, h("span", {}, name), value, h("span", { class: "bar" }, bar)) };
    };
    const all = { p_undo: make("P(Undo) next", "var(--ink)"), cls: make("A mistake stands, read at [cls]", series.vermillion), placed: make("…read at the placed patch", series.orange) };
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
    this.amount = h("input", { type: "range", min: -8, max: 8, step: 0.25, value: 0, "aria-label": "Along the mistake direction, in separations", oninput: () => this.tellAmount(), onchange: () => this.steer() });
    this.shownAmount = h("output", {}, "off");
    this.off = h("button", { onclick: () => { this.amount.value = 0; this.steer(); } }, "Off");
    this.alone = h("button", { hidden: true, onclick: () => this.part() }, "Close the twin");
    return h("section", { class: "card control" }, h("h2", {}, "Steer"),
      h("p", { class: "note" }, "Push the residual stream along the mistake direction at every look from here on; its unsteered twin works beside it."),
      h("div", { class: "fields" }, field("Site", this.site), field("Token", this.token)),
      h("div", { class: "line" }, h("label", {}, this.amount), this.shownAmount), h("p", { class: "row" }, this.off, this.alone));
  }
  tellAmount() {
    this.shownAmount.value = this.told();
    this.amount.setAttribute("aria-valuetext", this.told());
  }
  told() { const value = Number(this.amount.value); return value ? `${value > 0 ? "+" : "−"}${Math.abs(value)} sep.` : "off"; }
  showSteer(steer) {
    if (steer && Math.abs(steer.amount) > Number(this.amount.max)) { this.amount.min = -20; this.amount.max = 20; }
    this.amount.value = steer?.amount ?? 0;
    if (steer) { this.token.value = steer.token; this.site.value = steer.site; }
    this.tellAmount();
  }

  place() {
    this.halves.classList.toggle("pair", Boolean(this.twin));
    this.alone.hidden = !this.twin;
    const side = (run, title, note) => h("div", { class: "half" }, this.twin && h("h3", {}, title, note), run.screen.frame);
    this.halves.style.gridTemplateColumns = this.twin ? "" : "minmax(0, 1fr)";
    this.steeredNote = h("span", { class: "note" });
    this.twinNote = h("span", { class: "note" });
    this.halves.replaceChildren(...[side(this.run, "Steered", this.steeredNote), this.twin && side(this.twin, "Unsteered twin", this.twinNote)].filter(Boolean));
  }

  async draw() {
    const { view, steps } = this.run, step = this.step;
    const present = step >= steps.length;
    const inside = this.inside.on && this.looking === `${view.id}/${step}`;
    await this.run.draw(step, this.heat && !inside);
    if (this.twin) await this.twin.draw(Math.min(step, this.twin.steps.length), this.heat);
    this.timeline.set(steps, step, view.done ? null : { ...this.run.reading(steps.length), mistake: view.stands, steer: null });
    this.key.replaceChildren(this.timeline.key());
    this.tell(step, present);
    this.playing.back.disabled = step === 0;
    this.nowButton.disabled = present;
    this.playing.forth.disabled = present && view.done;
    this.playing.button.disabled = this.tripButton.disabled = this.hand.disabled = view.done && present;
    this.run.screen.node.classList.toggle("mine", this.over);
    this.inExplore.href = `/explore?a=0-${view.id}`;
    this.naming ??= setTimeout(() => this.name(), 400);
  }

  /** What is read and what is true at a screen. */
  tell(step, present) {
    const { view, steps } = this.run, read = this.run.reading(step);
    for (const name of ["p_undo", "cls", "placed"]) {
      const value = read?.[name];
      this.meters[name].value.textContent = percent(value);
      this.meters[name].bar.style.width = `${100 * (value ?? 0)}%`;
    }
    const stands = present ? view.stands : steps[step].mistake;
    this.truth.className = `truth${stands ? " stands" : ""}`;
    this.truth.replaceChildren(h("i"), stands ? "In truth a mistake stands" : "In truth no mistake stands");
    this.title.textContent = `${view.settings.checkpoint} · ${world(this.about, view.world_seed).toLowerCase()} · ${words(view.layout)} layout · click ${step} of ${view.count}${view.done ? ` · finished, score ${view.score.toFixed(2)}` : ""}`;
    this.trips.replaceChildren(...view.trips.map((trip) => h("li", {}, `Click ${trip.step}, ${steps[trip.step]?.trip || "a trip"}: ${became(trip)}`)));
    if (!this.twin) return;
    const note = (run, at) => (at >= run.steps.length && run.view.done ? `finished, score ${run.view.score.toFixed(2)}` : `click ${at} · P(Undo) ${percent(run.reading(at)?.p_undo)}`);
    this.steeredNote.textContent = `${this.told()} · ${note(this.run, step)}`;
    this.twinNote.textContent = note(this.twin, Math.min(step, this.twin.steps.length));
  }

  /** Let the address name the run, and hold it all. Browsers bear only so many changes a second. */
  name() {
    this.naming = null;
    if (!this.timeline.node.isConnected) return;
    const address = new URLSearchParams({ run: this.run.view.id, step: this.step, ...(this.twin && { beside: this.twin.view.id }) });
    if (this.last <= MOST_LINKED) for (const [name, value] of link(this.run, this.twin, this.step)) address.set(name, value);
    history.replaceState(null, "", `/watch?${address}`);
  }

  /** Ask the model's side for something, one after the other, and draw what came of it. */
  async act(what, { both = false, stay = false } = {}) {
    const before = this.turn;
    let end;
    this.turn = new Promise((done) => (end = done));
    await before;
    this.busy = true;
    try {
      const found = await this.run.ask(what);
      if (both && this.twin && !this.twin.view.done) await this.twin.ask({ do: "step" });
      if (!stay) this.step = this.last;
      await this.draw();
      if (found.said || found.steps.length) this.said.textContent = [found.said, spoken(found)].filter(Boolean).join(". ");
      if (this.inside.on && !stay) await this.lookInside();
      return found;
    } catch (error) {
      this.playing.play(false);
      if (error instanceof Refusal && error.status === 409) {
        this.run.steps = [];
        await this.run.load(this.run.view.id);
        this.step = this.last;
        await this.draw();
        toast("Another tab went on here; this is where it is now");
      } else toast(error.message, "bad");
      return null;
    } finally {
      this.busy = false;
      end();
    }
  }

  async seek(step) {
    this.step = Math.min(this.last, Math.max(0, step));
    await this.draw();
    const one = this.run.steps[this.step];
    this.said.textContent = one ? `Click ${this.step}: ${one.text} · ${one.phase}${one.mistake ? " · a mistake stands" : ""}` : "The present screen";
    if (this.inside.on) return this.lookInside();
    if (this.heat && !this.playing.on) this.recall();
  }

  /** Ask for the click map of an earlier screen once one stays at it. */
  recall() {
    clearTimeout(this.recalling);
    const step = this.step, { run } = this, id = run.view.id;
    if (!this.model || [run, this.twin].every((one) => !one || one.at(Math.min(step, one.steps.length)))) return;
    this.recalling = setTimeout(async () => {
      if (this.step !== step || run.view.id !== id) return;
      try { await Promise.all([run, this.twin].map((one) => one?.find(Math.min(step, one.steps.length)))); } catch { return; }
      if (this.step === step && run.view.id === id) await this.draw();
    }, 200);
  }

  /** One screen on; at the last one the model clicks. False if nothing came of it. */
  async forward() {
    if (this.busy) return false;
    if (this.step < this.last) { await this.seek(this.step + 1); return true; }
    if (this.run.view.done) return false;
    if (this.over) await this.takeOver(false);
    return Boolean(await this.act({ do: "step" }, { both: true }));
  }

  showMap(on) {
    this.heat = on;
    this.mapButton.setAttribute("aria-pressed", String(on));
    this.draw();
  }

  /** Let what is under way end; then go on from an earlier screen in a run of its own. */
  async branch() {
    this.playing.play(false);
    await this.turn;
    if (this.step >= this.last) return;
    const found = await post(`/api/sessions/${this.run.view.id}/fork`, { count: this.step, steered: true });
    this.run.become(found);
    this.twin = null;
    this.place();
    toast(`A new run from click ${this.step}; the other one is kept`);
    await this.act({ do: "look" });
  }

  async takeOver(on) {
    try { if (on) await this.branch(); } catch (error) { return toast(error.message, "bad"); }
    this.over = on;
    this.run.screen.answering(on);
    this.hand.setAttribute("aria-pressed", String(on));
    this.hand.textContent = on ? "Hand back" : "Take over";
    this.said.textContent = on ? "Your clicks count now; hand back when you like." : "The model clicks again.";
    await this.draw();
    if (on) this.run.screen.node.focus({ preventScroll: true });
  }

  clicked(run, x, y) {
    if (run !== this.run) return;
    if (!this.over) { this.said.textContent = "Take over first, then click."; return; }
    this.act({ do: "click", x, y });
  }

  async trip() {
    try { await this.branch(); } catch (error) { return toast(error.message, "bad"); }
    this.said.textContent = "It works on to its next placement…";
    await this.act({ do: "trip", distance: Number(this.distance.value) });
  }

  async steer() {
    this.tellAmount();
    const amount = Number(this.amount.value);
    try {
      await this.branch();
      if (amount && !this.twin) {
        await this.openTwin((await post(`/api/sessions/${this.run.view.id}/fork`, { count: this.last })).id);
        await this.twin.ask({ do: "look" });
        this.place();
      }
    } catch (error) { return toast(error.message, "bad"); }
    await this.act({ do: "steer", site: Number(this.site.value || 0), token: this.token.value, amount });
  }

  part() {
    this.twin = null;
    this.place();
    this.draw();
  }

  /** Click lens or attention at the screen shown. */
  async lookInside() {
    const at = `${this.run.view.id}/${this.step}`;
    this.inside.tell();
    if (!this.inside.on) { this.looking = null; this.inside.said.textContent = ""; return this.draw(); }
    if (this.looking !== at) {
      this.inside.said.textContent = "Looking…";
      try {
        const found = await get(`/api/sessions/${this.run.view.id}/apart/${this.step}`);
        if (at !== `${this.run.view.id}/${this.step}`) return;
        [this.taken, this.looking] = [found, at];
      } catch (error) { return toast(error.message, "bad"); }
    }
    await this.inside.show(this.run.screen, this.taken);
    if (this.run.reading(this.step)?.steer) this.inside.said.append(" It is shown as it would be unsteered.");
  }

  async copy() {
    if (this.last > MOST_LINKED) return toast(`A link holds at most ${MOST_LINKED} clicks`, "bad");
    const address = `${location.origin}/watch?${link(this.run, this.twin, this.step)}`;
    try { await navigator.clipboard.writeText(address); toast("The link is copied"); }
    catch { prompt("The link:", address); }
  }
}

/** What became of a mistake made for the model. */
function became({ step, stood, undo, cleared }) {
  if (!stood) return "no mistake came of it";
  if (undo !== null) return `undone after ${undo - step} ${undo - step === 1 ? "click" : "clicks"} ✓`;
  return cleared !== null ? "put right without Undo" : "a mistake stands, not undone yet";
}

/** The last click of an answer, and what came of it, to be read aloud. */
function spoken({ steps, done, score, stands }) {
  const last = steps.at(-1);
  if (!last) return "";
  return `${last.text} · ${last.phase}${stands ? " · a mistake stands" : ""}${done ? ` · finished, score ${score.toFixed(2)}` : ""}`;
}
