// Choosing a world: task, layout, difficulty, seed.
import { field, h, select, words } from "./dom.js";

const KEPT = "bcprobe-choice";

/** A form of worlds. `extra` fields are shown beside; `onBegin(world)` is called with the choice. */
export function worldForm(about, { verb, title, lead, extra = () => [], onBegin, tasks = null, start = {} }) {
  const kept = { ...JSON.parse(localStorage.getItem(KEPT) || "{}"), ...start };
  const names = about.tasks.map((task) => task.name);
  const chosen = { task: names.includes(kept.task) ? kept.task : names[0] };
  const detail = h("div", { class: "asked" });
  const layout = select(about.layouts.map(({ name, held_out }) => [name, words(name) + (held_out ? " (held out)" : "")]),
    about.layouts.some((one) => one.name === kept.layout) ? kept.layout : "original");
  const difficulty = select([], "");
  const from = kept.world_seed !== undefined && kept.world_seed < about.test_seed ? 0 : about.test_seed;
  const seed = h("input", { type: "number", min: 0, max: about.most_seed - from, step: 1, required: true, inputMode: "numeric", value: (kept.world_seed ?? from + random()) - from });
  const dice = h("button", { type: "button", class: "quiet", "aria-label": "Another seed at random", title: "Another seed", onclick: () => (seed.value = random()) }, "⚄");
  const cards = h("div", { class: "tasks", role: "radiogroup", "aria-label": "Task" }, about.tasks.map((task) => {
    const radio = h("input", { type: "radio", name: "task", value: task.name, checked: task.name === chosen.task, onchange: () => choose(task.name) });
    const untrained = tasks && !tasks().includes(task.name);
    return h("label", { class: "task", "data-task": task.name },
      radio, h("img", { src: `/api/picture/${task.name}`, alt: "", loading: "lazy", width: 120, height: 90 }),
      h("span", {}, task.title, h("small", { class: "note" }, untrained ? "not trained on" : task.held_out ? "held out" : "")));
  }));
  function choose(name) {
    chosen.task = name;
    const task = about.tasks.find((one) => one.name === name);
    difficulty.replaceChildren(...task.difficulties.map((one) => h("option", { value: one }, one)));
    difficulty.value = task.difficulties.includes(kept.difficulty) ? kept.difficulty : "default";
    detail.replaceChildren(
      h("img", { src: `/api/picture/${name}`, alt: `A screen of ${task.title.toLowerCase()} in the middle of the work`, width: 480, height: 360 }),
      h("div", {}, h("h2", {}, task.title), h("p", {}, task.asked[0]), h("p", { class: "do" }, task.asked[1])));
  }
  choose(chosen.task);
  const begin = h("button", { class: "main", type: "submit" }, verb);
  const form = h("form", {
    class: "choose",
    onsubmit: async (event) => {
      event.preventDefault();
      const world = { task: chosen.task, layout: layout.value, difficulty: difficulty.value, world_seed: from + Number(seed.value) };
      localStorage.setItem(KEPT, JSON.stringify(world));
      begin.disabled = true;
      try { await onBegin(world); } finally { begin.disabled = false; }
    },
  },
  h("div", { class: "lead" }, h("h1", {}, title), h("p", {}, lead)),
  h("div", { class: "pick" }, cards,
    h("div", { class: "card" }, detail,
      h("div", { class: "fields" }, field("Layout", layout), field("Difficulty", difficulty), h("div", { class: "with" }, field(from ? "Test world" : "World", seed), dice), extra()),
      h("div", { class: "row end" }, begin))));
  return form;
}

function random() { return Math.floor(Math.random() * 10000); }

/** What a world is called: those of the test split by their number in it. */
export function world(about, seed) {
  return seed >= about.test_seed ? `Test world ${seed - about.test_seed}` : `World ${seed}`;
}
