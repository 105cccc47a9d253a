// Episodes to look through: filter, open in a player, two side by side.
import { get, known } from "./api.js";
import { world } from "./choose.js";
import { field, h, Scope, select, words } from "./dom.js";
import { go } from "./main.js";
import { Screen } from "./screen.js";
import { Timeline } from "./timeline.js";

export async function build(query) {
  const about = await known();
  const keys = ["a", "b"].map((name) => query.get(name)).filter(Boolean);
  return keys.length ? players(about, keys, query) : list(about, query);
}

async function list(about, query) {
  const scope = new Scope();
  const sources = about.sources;
  const source = sources.some((one) => String(one.number) === query.get("source")) ? Number(query.get("source")) : sources.at(-1).number;
  const { rows, total } = await get(`/api/episodes/${source}`);
  const chosen = new Set();
  const body = h("tbody"), count = h("p", { class: "note", role: "status" });
  const compare = h("button", { class: "main", disabled: true, onclick: () => open([...chosen]) }, "Side by side");
  const tasks = [...new Set(rows.map((row) => row.task))], origins = [...new Set(rows.map((row) => row.origin))];
  const task = select([["", "all tasks"], ...tasks.map((name) => [name, words(name)])], query.get("task") || "", { onchange: fill });
  const origin = select([["", "everybody"], ...origins.map((name) => [name, name])], "", { onchange: fill });
  const least = h("input", { type: "number", min: 0, max: 1, step: 0.05, value: 0, oninput: fill });
  const most = h("input", { type: "number", min: 0, max: 1, step: 0.05, value: 1, oninput: fill });
  const wrong = select([["0", "any number"], ["1", "1 or more"], ["3", "3 or more"], ["none", "none"]], "0", { onchange: fill });
  const order = select([["number", "as made"], ["low", "lowest score"], ["high", "highest score"], ["mistakes", "most mistakes"], ["steps", "most clicks"]], "number", { onchange: fill });

  function open(keys) { go(`/explore?${new URLSearchParams(Object.fromEntries(keys.slice(0, 2).map((key, i) => ["ab"[i], key])))}`); }
  function fill() {
    const by = { number: null, low: (row) => row.score ?? 2, high: (row) => -(row.score ?? -1), mistakes: (row) => -(row.mistakes ?? -1), steps: (row) => -row.steps }[order.value];
    const kept = rows.filter((row) => (!task.value || row.task === task.value) && (!origin.value || row.origin === origin.value)
      && (row.score === null || (row.score >= Number(least.value) - 1e-9 && row.score <= Number(most.value || 1) + 1e-9))
      && (wrong.value === "none" ? row.mistakes === 0 : (row.mistakes ?? 0) >= Number(wrong.value)));
    if (by) kept.sort((a, b) => by(a) - by(b));
    count.textContent = `${kept.length} of ${total} episodes${total > rows.length ? `, the first ${rows.length} listed` : ""}`;
    body.replaceChildren(...kept.map(line));
    if (!kept.length) body.append(h("tr", {}, h("td", { colSpan: 8, class: "empty" }, rows.length ? "None fits" : "No episodes here yet")));
  }
  function line(row) {
    const unfinished = row.kind === "annotate" && !row.done;
    const box = h("input", { type: "checkbox", checked: chosen.has(row.key), disabled: unfinished, "aria-label": `Choose ${words(row.task)}, world ${row.world_seed}`, onclick: (event) => event.stopPropagation(), onchange: () => {
      box.checked ? chosen.add(row.key) : chosen.delete(row.key);
      if (chosen.size > 2) { chosen.delete([...chosen][0]); fill(); }
      compare.disabled = chosen.size !== 2;
    } });
    const address = unfinished ? `/annotate?session=${row.key.slice(2)}` : `/explore?a=${row.key}`;
    return h("tr", { onclick: (event) => !event.target.closest("a, input") && go(address) },
      h("td", {}, box), h("td", {}, h("a", { href: address }, h("i", { class: "dot", style: `--c:${about.task_colours[row.task] || "#888"}` }), words(row.task))),
      h("td", {}, row.origin), h("td", {}, world(about, row.world_seed)), h("td", {}, words(row.layout)), h("td", {}, String(row.steps)),
      h("td", {}, row.mistakes === null ? "" : String(row.mistakes)), h("td", {}, row.score === null ? (unfinished ? "unfinished" : "") : `${row.score.toFixed(2)}${row.success ? " ✓" : ""}`));
  }
  fill();
  const node = h("div", {}, h("div", { class: "lead" }, h("h1", {}, "Explore episodes"), h("p", {}, "Open one in the player, or two side by side. Folders come from ", h("code", {}, "bcprobe serve --data FOLDER"), ".")),
    h("div", { class: "card" },
      h("div", { class: "filters" }, field("From", select(sources.map((one) => [one.number, one.name]), source, { onchange: (event) => go(`/explore?source=${event.target.value}`) })),
        field("Task", task), field("Worked by", origin), field("Score from", least), field("to", most), field("Mistakes", wrong), field("Order", order), compare),
      count, h("div", { class: "scroll" }, h("table", { class: "rows" }, h("thead", {}, h("tr", {}, ["", "task", "worked by", "world", "layout", "clicks", "mistakes", "score"].map((name) => h("th", { scope: "col" }, name)))), body))));
  return { node, scope, title: "Explore" };
}

/** An episode with its screen, its timeline, and what each click was. */
class Player {
  constructor(about, episode, onStep) {
    Object.assign(this, { about, episode, onStep, step: 0 });
    this.screen = new Screen({ label: `${episode.title}: screen of the episode`, most: 960 });
    this.timeline = new Timeline({ colours: about.phases, mistake: about.mistake, onSeek: (step) => { this.onStep(step, this); } });
    this.said = h("p", { class: "said", "aria-live": "polite" });
    this.node = h("div", { class: "half" },
      h("h3", {}, `${episode.title}`, h("span", { class: "note" }, `${episode.origin} · ${episode.count} clicks · ${episode.mistakes} ${episode.mistakes === 1 ? "mistake" : "mistakes"} · ${episode.score === null ? "" : `score ${episode.score.toFixed(2)}`}${episode.success ? " ✓" : ""}`)),
      this.screen.frame, this.said, this.timeline.node);
    this.timeline.set(episode.steps, 0, 1);
  }
  async to(step) {
    const { steps, key } = this.episode;
    this.step = Math.min(steps.length, Math.max(0, step));
    const one = steps[this.step], before = steps[this.step - 1];
    await this.screen.show(`/api/episode/${encodeURIComponent(key)}/frame/${this.step}`);
    this.screen.mark({ click: one ? [one.x, one.y] : null, before: before ? [before.x, before.y] : null });
    this.timeline.head(this.step);
    this.said.textContent = one ? `Click ${this.step}: ${one.text} · ${one.phase}${one.mistake ? ` · a mistake stands (${one.kind})` : ""}` : "The last screen";
  }
}

async function players(about, keys, query) {
  const scope = new Scope();
  const found = await Promise.all(keys.map((key) => get(`/api/episode/${encodeURIComponent(key)}`)));
  let step = Number(query.get("step") || 0), playing = false;
  const all = found.map((episode) => new Player(about, episode, (to) => { play(false); seek(to); }));
  const last = Math.max(...found.map((episode) => episode.steps.length));
  const playButton = h("button", { class: "main", onclick: () => play(!playing) }, "Play");
  const speed = select([[2, "2 / s"], [5, "5 / s"], [12, "12 / s"]], 5, { "aria-label": "Speed" });
  async function seek(to) {
    step = Math.min(last, Math.max(0, to));
    const address = new URLSearchParams(Object.fromEntries(keys.map((key, i) => ["ab"[i], key])));
    address.set("step", step);
    history.replaceState(null, "", `/explore?${address}`);
    await Promise.all(all.map((player) => player.to(step)));
  }
  async function play(on) {
    if (on === playing) return;
    playing = on;
    playButton.textContent = on ? "Pause" : "Play";
    if (on && step >= last) await seek(0);
    while (playing && step < last && playButton.isConnected) {
      const began = performance.now();
      await seek(step + 1);
      await new Promise((done) => setTimeout(done, Math.max(0, 1000 / Number(speed.value) - (performance.now() - began))));
    }
    playing = false;
    playButton.textContent = "Play";
  }
  function nextMistake() {
    for (let i = step + 1; i <= last; i++) if (found.some(({ steps }) => steps[i]?.mistake && !steps[i - 1]?.mistake)) { play(false); return seek(i); }
  }
  scope.ends.push(() => (playing = false));
  scope.on(document, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const work = { " ": () => play(!playing), ArrowLeft: () => { play(false); seek(step - 1); }, ArrowRight: () => { play(false); seek(step + 1); }, Home: () => seek(0), End: () => seek(last), m: nextMistake }[event.key];
    if (!work) return;
    event.preventDefault();
    work();
  });
  const watch = found.length === 1 && found[0].session && found[0].origin !== "person" ? h("a", { class: "button", href: `/watch?run=${found[0].session}` }, "Watch this run") : null;
  const node = h("div", { class: "work" },
    h("div", { class: "head" }, h("h1", {}, "Episode", found.length > 1 ? "s side by side" : ""), h("p", {}, h("a", { href: "/explore" }, "All episodes"))),
    h("div", { class: `stage${all.length > 1 ? " pair" : ""} ${all.length === 1 ? "one" : ""}` }, all.map((player) => player.node)),
    h("div", { class: "play", role: "group", "aria-label": "Playing" }, playButton,
      h("button", { "aria-label": "One click back", onclick: () => { play(false); seek(step - 1); } }, "◀"), h("button", { "aria-label": "One click on", onclick: () => { play(false); seek(step + 1); } }, "▶"),
      speed, h("button", { onclick: nextMistake, "aria-keyshortcuts": "m" }, "Next mistake", h("kbd", {}, "m")), h("span", { class: "grow" }), watch),
    all[0].timeline.key());
  return { node, scope, title: "Episode", shown: () => { all.forEach((player) => { player.screen.fit(); player.timeline.draw(); }); seek(step); } };
}
