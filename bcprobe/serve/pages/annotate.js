// Annotating a world: every click goes to the server, which keeps it before it answers.
import { get, insist, known, post, Refusal } from "./api.js";
import { world, worldForm } from "./choose.js";
import { field, h, Scope, toast, words } from "./dom.js";
import { go } from "./main.js";
import { Screen } from "./screen.js";

const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "-", "="];

export async function build(query) {
  const about = await known();
  const session = query.get("session");
  return session ? work(about, session) : start(about);
}

async function start(about) {
  const { rows } = await get("/api/sessions");
  const open = rows.filter((row) => row.kind === "annotate" && !row.done && row.steps).slice(0, 6);
  const name = h("input", { type: "text", maxLength: about.most_name, autocomplete: "off", placeholder: "may stay empty", value: localStorage.getItem("bcprobe-name") || "" });
  const form = worldForm(about, {
    verb: "Begin", title: "Annotate a world",
    lead: "The very worlds that the models were trained on, in their own pixels. Every click is kept; at the end you see how you did beside virtual annotators and the model.",
    extra: () => [field("Your name", name, "only kept if you type one")],
    onBegin: async (chosen) => {
      localStorage.setItem("bcprobe-name", name.value);
      try {
        const made = await post("/api/annotate", { ...chosen, name: name.value, ...device() });
        go(`/annotate?session=${made.id}`);
      } catch (error) { toast(error.message, "bad"); }
    },
  });
  const node = h("div", {}, form, open.length > 0 && h("section", { class: "card" }, h("h2", {}, "Go on with"),
    h("ul", { class: "list" }, open.map((row) => h("li", {},
      h("a", { href: `/annotate?session=${row.key.slice(2)}` }, `${about.tasks.find((one) => one.name === row.task)?.title || words(row.task)}, ${world(about, row.world_seed).toLowerCase()}`),
      h("span", { class: "note" }, `${row.steps} clicks · ${words(row.layout)} · ${row.origin}`))))));
  return { node, scope: new Scope(), title: "Annotate" };
}

/** What is kept of the device: viewport, density, kind of pointer. */
function device() {
  const kind = matchMedia("(pointer: coarse)").matches ? "touch" : matchMedia("(pointer: fine)").matches ? "mouse" : "unknown";
  return { device: kind, viewport: [innerWidth, innerHeight], pixel_ratio: devicePixelRatio || 1 };
}

async function work(about, id) {
  const scope = new Scope();
  let view = await get(`/api/sessions/${id}`);
  if (view.kind !== "annotate") return { node: h("p", {}, "This is a watched run: ", h("a", { href: `/watch?run=${id}` }, "watch it")), scope };
  const task = about.tasks.find((one) => one.name === view.task);
  let origin = performance.now() - view.time_ms;
  let busy = false;
  const queue = [];
  const tabs = new BroadcastChannel(`bcprobe-${id}`);
  scope.ends.push(() => tabs.close());

  const screen = new Screen({ label: `${view.title}, the screen to annotate`, colour: about.palette.click, onClick: (x, y, source, event) => ask({ do: "click", x, y, source }, event) });
  const said = h("p", { class: "said", role: "status", "aria-live": "polite" });
  const counters = h("p", { class: "counters" });
  const buttons = h("div", { class: "buttons", role: "group", "aria-label": "Buttons of the tool" });
  const away = h("div", { class: "away", role: "alert", hidden: true }, "The server is away. Nothing is lost: your clicks are sent as soon as it is back.");
  const undo = h("button", { class: "tool undo", "aria-keyshortcuts": "u", onclick: (event) => ask({ do: "undo", source: "button" }, event) }, "Undo", h("kbd", { "aria-hidden": "true" }, "u"));
  const redo = h("button", { class: "tool", "aria-keyshortcuts": "r", onclick: (event) => ask({ do: "redo", source: "button" }, event) }, "Redo", h("kbd", { "aria-hidden": "true" }, "r"));
  const next = h("button", { class: "tool wide", "aria-keyshortcuts": "n", title: "Go to the next frame that lacks marks", onclick: (event) => ask({ do: "next", source: "button" }, event) }, "Next open frame", h("kbd", { "aria-hidden": "true" }, "n"));
  const end = h("section", { class: "ending", "aria-live": "polite" });

  async function paint(found, quiet = false) {
    view = found;
    await screen.show(view.picture);
    const [x, y, width, height] = view.canvas;
    screen.home ||= [x + width / 2, y + height / 2];
    counters.replaceChildren(...view.status.map(([name, value]) => h("span", {}, h("small", {}, name), value)), h("span", {}, h("small", {}, "Clicks"), String(view.count)));
    if (!quiet && view.said) said.textContent = `${view.said}. ${view.status.map((pair) => pair.join(" ").trim()).join(", ")}`;
    const focused = document.activeElement?.dataset?.button;
    buttons.replaceChildren(...view.buttons.map((button, i) => button.name !== "Undo" && h("button", {
      class: `tool ${button.tone}${button.active ? " active" : ""}`, "data-button": button.name, disabled: view.done,
      "aria-disabled": String(!button.enabled), "aria-pressed": ["view", "select"].includes(button.action) ? String(button.active) : null,
      "aria-keyshortcuts": DIGITS[i], "aria-label": `${button.label}${button.ticked ? ", done" : ""}`,
      onclick: (event) => ask({ do: "press", button: button.name, source: "button" }, event),
    }, button.label, button.ticked && h("span", { class: "tick", "aria-hidden": "true" }, "✓"), h("kbd", {}, DIGITS[i]))).filter(Boolean));
    if (focused) [...buttons.children].find((one) => one.dataset.button === focused)?.focus();
    undo.setAttribute("aria-disabled", String(!view.buttons.some((one) => one.name === "Undo" && one.enabled)));
    redo.setAttribute("aria-disabled", String(!view.can_redo));
    undo.disabled = redo.disabled = next.disabled = view.done;
    next.hidden = !view.frames;
    screen.mark({});
    if (view.done) await finish();
  }

  /** Queue something; `event` says when it was made, by the browser's own clock. */
  function ask(what, event) {
    if (view.done || queue.length > 8) return;
    const made = event?.timeStamp || performance.now();
    queue.push({ ...what, time_ms: Math.max(0, made - origin), nonce: nonce(), made });
    if (what.do === "click" && what.source === "pointer") ripple(what.x, what.y);
    run();
  }

  async function run() {
    if (busy) return;
    busy = true;
    while (queue.length) {
      const { made, ...what } = queue[0];
      try {
        const found = await insist(() => post(`/api/sessions/${id}/annotate`, { ...what, count: view.count }), (gone) => (away.hidden = !gone));
        await paint(found);
        performance.measure("bcprobe-answer", { start: made, end: performance.now() });
        tabs.postMessage(found.count);
        queue.shift();
      } catch (error) {
        queue.length = 0;
        if (error instanceof Refusal && error.status === 409) {
          await refresh();
          toast("Another tab went on here; this is where it is now");
        } else toast(error.message, "bad");
      }
    }
    busy = false;
  }

  async function refresh() {
    const found = await get(`/api/sessions/${id}`);
    origin = performance.now() - Math.max(found.time_ms, performance.now() - origin);
    await paint(found, true);
  }

  async function follow() {
    if (busy || document.hidden) return;
    const found = await get(`/api/sessions/${id}/since/${view.count}`).catch(() => undefined);
    if (found && !busy && found.count !== view.count) await paint(found, true);
  }

  function ripple(x, y) {
    screen.mark({ click: [x, y] });
  }

  async function finish() {
    if (end.childElementCount) return;
    end.replaceChildren(h("h2", {}, "Finished"), h("p", { class: "note" }, "Virtual annotators and the model work on the same world now…"));
    end.scrollIntoView({ block: "nearest", behavior: "smooth" });
    for (;;) {
      const found = await get(`/api/sessions/${id}/comparison`).catch((error) => ({ problem: error.message, ready: true, others: [] }));
      if (found.own) end.replaceChildren(...result(found, view, id, !about.trained[found.checkpoint]?.length || about.trained[found.checkpoint].includes(view.task)));
      else end.replaceChildren(h("p", {}, found.problem));
      if (found.ready || !end.isConnected) return;
      await new Promise((done) => setTimeout(done, 700));
    }
  }

  tabs.onmessage = follow;
  scope.every(2500, follow);
  scope.on(document, "visibilitychange", follow);
  scope.on(document, "keydown", (event) => {
    if (event.target.closest("input, select, textarea")) return;
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (command) {
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      return ask({ do: key === "y" || event.shiftKey ? "redo" : "undo", source: "key" }, event);
    }
    if (event.altKey) return;
    const place = DIGITS.indexOf(event.key);
    const moving = { d: "forward", a: "back" }[key];
    if (place >= 0 && view.buttons[place]) ask({ do: "press", button: view.buttons[place].name, source: "key" }, event);
    else if (key === "u") ask({ do: "undo", source: "key" }, event);
    else if (key === "r") ask({ do: "redo", source: "key" }, event);
    else if (key === "n" && view.frames) ask({ do: "next", source: "key" }, event);
    else if (moving) {
      const button = view.buttons.find((one) => one.action === "navigate" && one.tone === moving);
      if (button) ask({ do: "press", button: button.name, source: "key" }, event);
    } else return;
    event.preventDefault();
  });

  const node = h("div", { class: "work" },
    h("div", { class: "head" }, h("h1", {}, view.title), h("p", { class: "note" }, `${world(about, view.world_seed)} · ${words(view.layout)} layout · ${view.difficulty}`)),
    away,
    h("div", { class: "stage" },
      screen.frame,
      h("aside", { class: "side", "aria-label": "Task and buttons" },
        h("section", { class: "card" }, h("p", { class: "do" }, task.asked[1]), counters),
        h("section", { class: "card" }, buttons, h("div", { class: "buttons extra", role: "group", "aria-label": "Undo, redo, go on" }, undo, redo, next), said),
        h("details", { class: "card" }, h("summary", {}, "Keys"), h("dl", { class: "keys" },
          keys("1–9, 0, -", "the buttons, in order"), keys("a  d", "back, forward"), keys("u  r", "undo, redo (also Ctrl+Z, Ctrl+Y)"),
          keys("n", "next unfinished frame"), keys("Tab", "to the screen; then arrows move a cross (Shift: 1 px), Enter clicks"))))),
    end);
  return { node, scope, title: view.title, shown: () => { screen.fit(); paint(view, true); screen.node.focus({ preventScroll: true }); } };
}

/** A name for a request; only a page that came over https, or from this machine, has randomUUID. */
function nonce() { return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join(""); }

function keys(key, what) { return [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)]; }

function result(found, view, id, trained) {
  const { own, others, ready, checkpoint } = found;
  const models = others.filter((row) => row.careful === undefined), people = others.filter((row) => row.careful !== undefined);
  const mean = (rows, name) => rows.reduce((sum, row) => sum + row[name], 0) / rows.length;
  const average = people.length ? [{ who: `${people.length} virtual annotators, mean`, score: mean(people, "score"), steps: mean(people, "steps"), mistakes: mean(people, "mistakes"), corrected: mean(people, "corrected"), success: null }] : [];
  const line = (row, own = false) => h("tr", { class: own ? "own" : "" }, h("th", { scope: "row" }, row.who), h("td", {}, row.score.toFixed(2)),
    h("td", {}, row.success === null ? "" : row.success ? "yes" : "no"), h("td", {}, round(row.steps)), h("td", {}, round(row.mistakes)), h("td", {}, round(row.corrected)));
  const round = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  return [
    h("h2", {}, own.success ? "Solved" : "Finished", h("span", { class: "score" }, `score ${own.score.toFixed(2)}`)),
    h("p", {}, `${own.steps} clicks, ${own.mistakes} ${own.mistakes === 1 ? "mistake" : "mistakes"}, ${own.corrected} corrected${own.seconds ? `, ${own.seconds.toFixed(0)} s` : ""}.`),
    h("div", { class: "scroll" }, h("table", {}, h("caption", {}, "The same world, worked by others"),
      h("thead", {}, h("tr", {}, ["who", "score", "solved", "clicks", "mistakes", "corrected"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, line(own, true), average.map((row) => line(row)), people.map((row) => line(row)), models.map((row) => line({ ...row, who: row.who + (trained ? "" : " (not trained on it)") }))))),
    !ready && h("p", { class: "note" }, `${checkpoint} is still at it…`),
    found.problem && h("p", { class: "note" }, found.problem),
    h("p", { class: "row" }, h("a", { class: "button main", href: "/annotate" }, "Another world"),
      h("a", { class: "button", href: `/explore?a=0-${id}` }, "Look back"),
      h("a", { class: "button", href: `/watch?task=${view.task}&seed=${view.world_seed}&layout=${view.layout}&difficulty=${view.difficulty}` }, "Watch the model on this world"),
      h("a", { class: "button", href: "/api/export/people", download: "" }, "Download all as Parquet")),
  ].filter(Boolean);
}

