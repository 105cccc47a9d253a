// A whole run as an address: its world and model, every click and who made it, and how it was steered.
const WHO = ["model", "pointer", "trip"];
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** Clicks that an address holds at most. */
export const MOST_LINKED = 1500;

/** Clicks {x, y, source} as letters, four each: 9 bits, 9 bits, 3 bits, 3 free. */
function pack(steps) {
  return steps.map(({ x, y, source }) => {
    const value = (x << 15) | (y << 6) | (Math.max(0, WHO.indexOf(source)) << 3);
    return [18, 12, 6, 0].map((shift) => ALPHABET[(value >> shift) & 63]).join("");
  }).join("");
}

function unpack(text) {
  return (text.match(/.{4}/g) || []).map((four) => {
    const value = [...four].reduce((sum, letter) => sum * 64 + Math.max(0, ALPHABET.indexOf(letter)), 0);
    return [(value >> 15) & 511, (value >> 6) & 511, (value >> 3) & 7];
  });
}

/** Steering of each look as its changes, "12~4~cls~-3!20": from 12 on, off from 20 on. */
function packSteers(steers) {
  const same = (a, b) => (a ? Boolean(b) && a.site === b.site && a.token === b.token && a.amount === b.amount : !b);
  return steers.flatMap((steer, i) => (same(steer, steers[i - 1]) ? [] : [steer ? [i, steer.site, steer.token, steer.amount].join("~") : String(i)])).join("!");
}

function unpackSteers(text) {
  return (text || "").split("!").filter(Boolean).map((part) => {
    const [from, site, token, amount] = part.split("~");
    return token === undefined ? [Number(from)] : [Number(from), Number(site), token, Number(amount)];
  });
}

/** Clicks and steering of a run {view, steps}, under these names. */
function put(address, { view, steps }, clicks, steer) {
  address.set(clicks, pack(steps));
  const steers = packSteers([...steps.map((step) => step.steer), view.settings.steer]);
  if (steers) address.set(steer, steers);
}

/** The run, and the twin beside it if there is one, as parameters of an address. */
export function link(run, twin, step) {
  const { view } = run, { settings } = view;
  const address = new URLSearchParams({
    task: view.task, seed: view.world_seed, layout: view.layout, difficulty: view.difficulty,
    checkpoint: settings.checkpoint, temperature: settings.temperature, draws: settings.seed, step,
  });
  put(address, run, "clicks", "steer");
  if (twin) put(address, twin, "twin", "twinsteer");
  return address;
}

/** What to ask the server for to make a linked run again. */
export function unlink(query, clicks = "clicks", steer = "steer") {
  return {
    task: query.get("task"), world_seed: Number(query.get("seed")), layout: query.get("layout") || "original",
    difficulty: query.get("difficulty") || "default", checkpoint: query.get("checkpoint") || "",
    temperature: Number(query.get("temperature") || 0), seed: Number(query.get("draws") || 0),
    clicks: unpack(query.get(clicks) || ""), steers: unpackSteers(query.get(steer)),
  };
}
