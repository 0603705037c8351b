/**
 * The service worker: the page opens without a network to its host. It answers
 * from its copy at once, and fetches a newer one for the next time; all else on
 * the host is left alone.
 * @module
 */

/** The parts of a service worker's scope that are used here. */
interface WorkerScope {
  readonly location: Location;
  readonly caches: CacheStorage;
  skipWaiting(): Promise<void>;
  addEventListener(
    type: "install" | "fetch",
    listener: (event: WorkerEvent) => void,
  ): void;
}

interface WorkerEvent {
  readonly request: Request;
  waitUntil(work: Promise<unknown>): void;
  respondWith(response: Promise<Response>): void;
}

const scope = globalThis as unknown as WorkerScope;
const CACHE = "knock";

/** The page that registered it, named in its own address. */
const page = new URL(
  new URLSearchParams(scope.location.search).get("page") ?? "./",
  scope.location.href,
);

async function refresh(): Promise<Response> {
  const response = await fetch(page, { cache: "no-cache" });
  if (response.ok && !response.redirected) {
    const cache = await scope.caches.open(CACHE);
    await cache.put(page.href, response.clone());
  }
  return response;
}

scope.addEventListener("install", (event) => {
  event.waitUntil(refresh().then(() => scope.skipWaiting()));
});

scope.addEventListener("fetch", (event) => {
  const { mode, url } = event.request;
  const asked = new URL(url);
  if (
    mode !== "navigate" || asked.origin !== page.origin ||
    asked.pathname !== page.pathname
  ) return;
  const fresh = refresh();
  event.waitUntil(fresh.catch(() => undefined));
  event.respondWith(
    scope.caches.match(page.href).then((kept) => kept ?? fresh),
  );
});
