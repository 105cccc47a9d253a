// Episodes to look through: filter, open in a player, two side by side.
import { get, known } from "./api.js";
import { world } from "./choose.js";
import { field, h, Scope, select, words } from "./dom.js";
import { go } from "./main.js";
import { Player, Playing } from "./player.js";

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
  const titles = Object.fromEntries(about.tasks.map((one) => [one.name, one.title]));
  const title = (name) => titles[name] || words(name);
  const body = h("tbody"), count = h("p", { class: "note", role: "status" });
  const compare = h("button", { class: "main", disabled: true, onclick: () => open([...chosen]) }, "Side by side");
  const tasks = [...new Set(rows.map((row) => row.task))], origins = [...new Set(rows.map((row) => row.origin))];
  const task = select([["", "all tasks"], ...tasks.map((name) => [name, title(name)])], query.get("task") || "", { onchange: fill });
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
    const box = h("input", { type: "checkbox", checked: chosen.has(row.key), disabled: unfinished, "aria-label": `Choose ${title(row.task)}, ${world(about, row.world_seed).toLowerCase()}, ${row.origin}`, onclick: (event) => event.stopPropagation(), onchange: () => {
      box.checked ? chosen.add(row.key) : chosen.delete(row.key);
      if (chosen.size > 2) { chosen.delete([...chosen][0]); fill(); }
      compare.disabled = chosen.size !== 2;
    } });
    const address = unfinished ? `/annotate?session=${row.key.slice(2)}` : `/explore?a=${row.key}`;
    return h("tr", { onclick: (event) => !event.target.closest("a, input") && go(address) },
      h("td", {}, box), h("td", {}, h("a", { href: address }, h("i", { class: "dot", style: `--c:${about.task_colours[row.task] || "#888"}` }), title(row.task))),
      h("td", {}, row.origin), h("td", {}, world(about, row.world_seed)), h("td", {}, words(row.layout)), h("td", { "data-name": "clicks" }, String(row.steps)),
      h("td", row.mistakes === null ? {} : { "data-name": row.mistakes === 1 ? "mistake" : "mistakes" }, row.mistakes === null ? "" : String(row.mistakes)), h("td", row.score === null ? {} : { "data-name": "score" }, row.score === null ? (unfinished ? "unfinished" : "") : `${row.score.toFixed(2)}${row.success ? " ✓" : ""}`));
  }
  fill();
  const node = h("div", {}, h("div", { class: "lead" }, h("h1", {}, "Explore episodes"), h("p", {}, "Open one in the player, or two side by side. Folders come from ", h("code", {}, "bcprobe serve --data FOLDER"), ".")),
    h("div", { class: "card" },
      h("div", { class: "filters" }, field("From", select(sources.map((one) => [one.number, one.name]), source, { onchange: (event) => go(`/explore?source=${event.target.value}`) })),
        field("Task", task), field("Worked by", origin), field("Score from", least), field("to", most), field("Mistakes", wrong), field("Order", order), compare),
      count, h("div", { class: "scroll" }, h("table", { class: "rows", "aria-label": "Episodes" }, h("thead", {}, h("tr", {}, ["choose", "task", "worked by", "world", "layout", "clicks", "mistakes", "score"].map((name) => h("th", { scope: "col" }, name)))), body))));
  return { node, scope, title: "Explore" };
}

/** Episodes in players that go on together. */
class Players {
  constructor(about, keys, found, step) {
    Object.assign(this, { keys, step, again: true });
    this.players = found.map((episode, i) => new Player({
      episode, palette: about.palette, onSeek: (to) => this.playing.seek(to),
      picture: (at) => `/api/episode/${encodeURIComponent(keys[i])}/frame/${at}`,
    }));
    this.last = Math.max(...this.players.map((player) => player.last));
    this.playing = new Playing(this, { rates: [[2, "2 / s"], [5, "5 / s"], [12, "12 / s"]], rate: 5, live: this.players.map((player) => player.said) });
  }
  async seek(to) {
    this.step = Math.min(this.last, Math.max(0, to));
    this.naming ??= setTimeout(() => this.name(), 400);
    await Promise.all(this.players.map((player) => player.to(this.step)));
  }
  async forward() {
    if (this.step >= this.last) return false;
    await this.seek(this.step + 1);
    return true;
  }
  nextMistake(step) {
    const found = this.players.map((player) => player.nextMistake(step)).filter((one) => one !== null);
    return found.length ? Math.min(...found) : null;
  }
  /** Let the address hold the screen; browsers bear only so many changes a second. */
  name() {
    this.naming = null;
    if (!this.playing.node.isConnected) return;
    const address = new URLSearchParams(this.keys.map((key, i) => ["ab"[i], key]));
    address.set("step", this.step);
    history.replaceState(null, "", `/explore?${address}`);
  }
}

async function players(about, keys, query) {
  const scope = new Scope();
  const found = await Promise.all(keys.map((key) => get(`/api/episode/${encodeURIComponent(key)}`)));
  const all = new Players(about, keys, found, Number(query.get("step")) || 0), pair = found.length > 1;
  const watch = !pair && found[0].session && found[0].origin !== "person" ? h("a", { class: "button", href: `/watch?run=${found[0].session}` }, "Watch this run") : null;
  all.playing.node.append(...[h("span", { class: "grow" }), watch].filter(Boolean));
  all.playing.keys(scope);
  scope.ends.push(() => clearTimeout(all.naming));
  const halves = all.players.map((player, i) => h("div", { class: "half" }, pair && h("h3", {}, found[i].title, h("span", { class: "note" }, summary(found[i]))),
    player.screen.frame, player.said, pair ? player.timeline.node : all.playing.node));
  const node = h("div", { class: "work" },
    h("div", { class: "head" }, h("h1", {}, pair ? "Episodes side by side" : found[0].title), h("p", { class: "note" }, pair ? "" : summary(found[0])), h("p", {}, h("a", { href: "/explore" }, "All episodes"))),
    h("div", { class: pair ? "stage pair" : "stage one" }, halves, !pair && h("aside", { class: "side", "aria-label": "The click" }, all.players[0].card)),
    pair ? all.playing.node : all.players[0].timeline.node,
    all.players[0].timeline.key());
  return { node, scope, title: pair ? "Side by side" : found[0].title, shown: () => { all.players.forEach((player) => player.screen.fit()); all.seek(all.step); } };
}

/** Who worked an episode, and how it went. */
function summary(episode) {
  const wrong = `${episode.mistakes} ${episode.mistakes === 1 ? "mistake" : "mistakes"}`;
  return [episode.origin, `${words(episode.layout)} layout`, `${episode.count} clicks`, wrong, episode.score === null ? "" : `score ${episode.score.toFixed(2)}${episode.success ? " ✓" : ""}`].filter(Boolean).join(" · ");
}
