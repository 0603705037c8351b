/// <reference lib="dom" />
/** The page as an app on the home screen, and without a network to its host. */

/** The service worker's file, beside the page. */
const WORKER = "knock-worker.js";

/** Offers the page for the home screen, and has a worker keep a copy where the host has one. */
export function offerAsApp(): void {
  if (!/^https?:$/.test(location.protocol)) return;
  const page = location.pathname;
  const icon = document.querySelector<HTMLLinkElement>("link[rel=icon]")!.href;
  const start = new URL(page, location.href).href;
  const manifest = {
    name: "knock",
    short_name: "knock",
    id: start,
    start_url: start,
    scope: new URL("./", start).href,
    display: "standalone",
    icons: [{ src: icon, sizes: "any", type: "image/svg+xml" }],
  };
  const json = encodeURIComponent(JSON.stringify(manifest));
  document.head.append(Object.assign(document.createElement("link"), {
    rel: "manifest",
    href: `data:application/manifest+json,${json}`,
  }));
  const worker = `./${WORKER}?page=${encodeURIComponent(page)}`;
  // A host that has no such file serves the page alone.
  navigator.serviceWorker?.register(worker).catch(() => undefined);
}
