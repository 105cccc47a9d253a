// Looking inside a model at the screen shown: the click lens after a layer, and where [cls] attends.
import { field, h, percent, select } from "./dom.js";
import { average } from "./screen.js";

export class Inside {
  /** `onChange()`: show it anew. */
  constructor(onChange) {
    this.layer = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Layer", oninput: onChange });
    this.head = h("select", { "aria-label": "Head", onchange: onChange });
    this.what = select([["off", "nothing"], ["lens", "click lens"], ["attention", "attention of [cls]"]], "off", { "aria-label": "What to show", onchange: onChange });
    this.name = h("output", {}, "");
    this.said = h("p", { class: "note", role: "status", "aria-live": "polite" });
    this.nodes = [h("div", { class: "fields" }, field("Show", this.what), field("Head", this.head)),
      h("div", { class: "line" }, h("label", {}, this.layer), this.name), this.said];
  }

  get on() { return this.what.value !== "off"; }

  /** Of what shape the model is. */
  shape(layers, heads) {
    if (this.layer.max === String(layers)) return;
    this.layer.max = layers;
    this.layer.value = Math.ceil(layers / 2);
    this.head.replaceChildren(h("option", { value: -1 }, "mean of heads"), ...Array.from({ length: heads }, (_, i) => h("option", { value: i }, `head ${i + 1}`)));
    this.tell();
  }

  tell() {
    const layer = Number(this.layer.value);
    this.name.value = layer ? `after layer ${layer}` : "embedding";
    this.layer.setAttribute("aria-valuetext", this.name.value);
    this.head.disabled = this.what.value !== "attention";
  }

  /** Lay what was chosen of `found` {lens, attention} over a screen. */
  async show(screen, found) {
    this.tell();
    const layer = Number(this.layer.value);
    if (this.what.value === "lens") {
      await screen.warm(found.lens[layer]);
      this.said.textContent = `The click map read from the residual stream ${layer ? `after layer ${layer}` : "before the first layer"}; its highest spot holds ${percent(found.lens[layer].peak)}.`;
    } else if (this.what.value === "attention") {
      const heads = found.attention[Math.max(1, layer) - 1], head = Number(this.head.value);
      const map = head < 0 ? await average(heads) : heads[head];
      await screen.warm(map, true);
      this.said.textContent = `Attention of [cls] in layer ${Math.max(1, layer)} to this screen's patches: ${percent(map.sum)} of its weight lies here.`;
    } else this.said.textContent = "";
  }
}
