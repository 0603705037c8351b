/** From the tap in the page to "open" there, in a real Chromium, quiet and under floods. */

import {
  MAC_AT,
  macOf,
  PACKET_SIZE,
  tagOf,
  windowOf,
} from "../../lib/dialects/knock1/tag.ts";
import { type BrowserDriver, BROWSERS } from "../../tests/netns/browsing.ts";
import { CLIENTS } from "../../tests/netns/netns.ts";
import { compileFlood, type Forgery, withFlood } from "../flood.ts";
import { GuardedServer } from "../guarded.ts";
import { SERVICE_PORT, Stage, until } from "../stage.ts";
import type { Step } from "../step.ts";

const KNOCKS = 20;
const WARM_UP = 3;
const PORT = 62201;
const POOL = 4096;

/** Taps the button: milliseconds until the page says open, or null for anything else. */
const TAP = `new Promise((resolve) => {
  const status = document.getElementById("status");
  const from = performance.now();
  new MutationObserver((_, observer) => {
    const { state } = status.dataset;
    if (state === "busy" || status.textContent === "") return;
    observer.disconnect();
    resolve(state === "open" ? performance.now() - from : null);
  }).observe(status, { attributes: true, childList: true });
  document.getElementById("knock").click();
})`;

const floods = [
  { name: "junk", perSecond: 0 },
  { name: "tag", perSecond: 50_000 },
  { name: "mac", perSecond: 5_000 },
] as const;

export const browser: Step = {
  name: "browser",
  measures: [
    "browser_open_ms_median",
    ...floods.flatMap(({ name }) => [
      `browser_flood_${name}_pps`,
      `browser_flood_${name}_opened_of_20`,
    ]),
  ],
  peers: [],
  programs: ["gcc", BROWSERS.chrome],
  inNamespaces: true,

  run: ({ results, folder, quick }) =>
    Stage.with((stage) =>
      GuardedServer.with(stage, async (server) => {
        const page = await server.startBrowser();
        try {
          const rounds = quick ? KNOCKS : 2 * KNOCKS;
          await knock(page, stage, WARM_UP);
          const quiet = await knock(page, stage, rounds);
          if (quiet.length < rounds * 0.95) {
            throw new Error(`of ${rounds} taps ${quiet.length} opened`);
          }
          results.timings("measures", "browser_open_ms_median", quiet);
          const binary = compileFlood(folder);
          for (const { name, perSecond } of floods) {
            const forgery = name === "junk"
              ? {}
              : { forgery: forge(name, server.publicKey, stage) };
            const { result, flooded } = await withFlood(
              stage,
              binary,
              { port: PORT, perSecond, ...forgery },
              () => knock(page, stage, KNOCKS),
            );
            const measure = `browser_flood_${name}`;
            results.measure(`${measure}_pps`, flooded.perSecond);
            results.measure(`${measure}_opened_of_20`, result.length);
          }
        } finally {
          await page.end();
        }
      })
    ),
};

/** Taps so many times, each when it is shut; the times of those that opened. */
async function knock(
  page: BrowserDriver,
  { pair }: Stage,
  taps: number,
): Promise<number[]> {
  const isOpen = () => pair.canReach(CLIENTS[4][0], SERVICE_PORT);
  const found: number[] = [];
  for (let tap = 0; tap < taps; tap++) {
    await until(async () => !await isOpen(), "a grant does not end");
    const ms = await page.evaluate<number | null>(TAP);
    if (ms !== null && await isOpen()) found.push(ms);
  }
  return found;
}

/** Packets with the right tag, or the right mac, too, from an address of the client's. */
function forge(
  form: "tag" | "mac",
  server: Uint8Array,
  stage: Stage,
): Forgery {
  const tag = tagOf(server, windowOf(Date.now()));
  const mac = macOf(server);
  const packets = Array.from({ length: POOL }, () => {
    const packet = crypto.getRandomValues(new Uint8Array(PACKET_SIZE));
    packet.set(tag);
    if (form === "mac") packet.set(mac(packet.subarray(0, MAC_AT)), MAC_AT);
    return packet;
  });
  return { source: stage.freshAddress(), packets };
}
