// Requests to this page's own server.

/** The server said no: `status` and, as `message`, why. */
export class Refusal extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function answer(response) {
  if (response.status === 204) return null;
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, body.error || response.statusText);
  return body;
}

export const get = (path) => fetch(path, { cache: "no-store" }).then(answer);
export const post = (path, body) => fetch(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body),
}).then(answer);

/** Ask until the server is there; `away(true)` is told when it is not, `away(false)` when it is again. */
export async function insist(work, away) {
  for (let tries = 0; ; tries++) {
    try {
      const found = await work();
      if (tries) away(false);
      return found;
    } catch (error) {
      if (error instanceof Refusal && ![429, 502, 503].includes(error.status)) {
        if (tries) away(false);
        throw error;
      }
      away(true);
      await new Promise((done) => setTimeout(done, Math.min(2000, 150 * 1.6 ** tries)));
    }
  }
}

let about = null;
/** What there is to choose from; asked for once. */
export function known() {
  about ??= get("/api/about").catch((error) => { about = null; throw error; });
  return about;
}
