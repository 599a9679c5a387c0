/** A page with a client, for tests in a browser. */

import { readFileSync } from "node:fs";

const PAGE = `<!doctype html><script type="module">
  import { AuthClient, browserStorage } from "/client/index.js";
  window.storage = browserStorage();
  window.auth = new AuthClient({ url: location.origin, storage });
  window.logOuts = 0;
  auth.onLogOut(() => logOuts++);
  window.me = async () => (await auth.fetch("/me")).status;
</script>`;

/** Answers for a gateway: the page `/app`, and the modules of the client. */
export function page(path) {
  if (path === "/app") return { status: 200, headers: { "Content-Type": "text/html" }, body: PAGE };
  const name = /^\/client\/([\w-]+\.js)$/.exec(path)?.[1];
  if (name === undefined) return undefined;
  const body = readFileSync(new URL(`../dist/${name}`, import.meta.url), "utf8");
  return { status: 200, headers: { "Content-Type": "text/javascript" }, body };
}
