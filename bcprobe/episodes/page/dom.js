// Elements from plain values. Text is always text: nothing here reads HTML.

/** Element with properties, listeners (`onclick`), attributes (`aria-label`, `data-x`), children. */
export function h(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for" || name === "list") node.setAttribute(name, value);
    else if (name === "class") node.className = value;
    else if (name === "style") node.style.cssText = value;
    else node[name] = value;
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** SVG element with attributes. */
export function svg(tag, attributes = {}, parent = null, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}

/** Select with options [value, label]. */
export function select(options, value, properties = {}) {
  const node = h("select", properties, options.map(([one, label]) => h("option", { value: one }, label)));
  node.value = value;
  return node;
}

/** A labelled control. */
export function field(label, control, hint = "") {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

let fading = null;
/** Say something for a few seconds, aloud too. */
export function toast(text, kind = "") {
  const node = document.getElementById("toast");
  node.textContent = text;
  node.className = `shown ${kind}`;
  clearTimeout(fading);
  fading = setTimeout(() => (node.className = ""), 4500);
}

export const words = (name) => String(name).replaceAll("_", " ");
export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);

/** Ask to be told when the page is left: listeners and timers end then. */
export class Scope {
  constructor() { this.ends = []; }
  on(target, name, work, options) {
    target.addEventListener(name, work, options);
    this.ends.push(() => target.removeEventListener(name, work, options));
  }
  every(ms, work) {
    const timer = setInterval(work, ms);
    this.ends.push(() => clearInterval(timer));
  }
  end() { this.ends.splice(0).forEach((work) => work()); }
}

/** Make a button switch between dark and light; `name`: under which the browser keeps the choice. */
export function themed(button, name) {
  const root = document.documentElement;
  const kept = (value) => { try { return value ? localStorage.setItem(name, value) : localStorage.getItem(name); } catch { return ""; } };
  root.dataset.theme = kept() || "";
  button.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept(root.dataset.theme);
  });
}
