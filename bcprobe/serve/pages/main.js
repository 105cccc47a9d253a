// Which page is shown. Addresses: /annotate?session=ID, /watch?run=ID&step=N, /explore?...
import { h, themed } from "./dom.js";

const PAGES = {
  annotate: () => import("./annotate.js"),
  watch: () => import("./watch.js"),
  explore: () => import("./explore.js"),
};
let scope = null;
let turn = 0;

/** Go to an address of this page; `replace` keeps the history as it is. */
export function go(address, { replace = false, quiet = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  if (!quiet) show();
}

async function show() {
  const mine = ++turn;
  scope?.end();
  scope = null;
  const name = location.pathname.slice(1) || "annotate";
  document.querySelectorAll("nav a").forEach((link) => {
    const own = link.getAttribute("href") === `/${name}`;
    own ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  });
  const main = document.getElementById("main");
  try {
    const page = await (PAGES[name] || PAGES.annotate)();
    const built = await page.build(new URLSearchParams(location.search));
    if (mine !== turn) return built.scope.end();
    scope = built.scope;
    main.replaceChildren(built.node);
    document.title = built.title ? `${built.title} · bcprobe` : "bcprobe";
    if (mine > 1) main.focus({ preventScroll: true });
    built.shown?.();
  } catch (error) {
    if (mine !== turn) return;
    main.replaceChildren(h("section", { class: "card sorry" }, h("h1", {}, "That did not work"),
      h("p", {}, error.message), h("p", {}, h("a", { href: `/${name}` }, "Begin again"))));
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || link.hasAttribute("download") || link.target) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("popstate", () => show());

themed(document.getElementById("theme"), "bcprobe-theme");
show();
