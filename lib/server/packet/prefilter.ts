/** The prefilter's tags: those of this minute and its neighbours, replaced as it passes. */

import type { Config } from "../../config/config.ts";
import { dialectsOf, kernelForms, sharedForm } from "../../dialects/table.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { tagOf, tagWindows, WINDOW_MS } from "../../dialects/knock1/tag.ts";
import { webTagText } from "../../dialects/knock1/web/form.ts";
import type {
  Prefilter,
  PrefilterState,
  Sniffed,
} from "../../firewall/firewall.ts";
import { attempt } from "../report/log.ts";
import type { Fleet } from "../state/fleet.ts";
import type { Active, Server } from "../state/server.ts";

/**
 * Sets the kernel's rules against junk: where every client speaks knock/1, they
 * drop what cannot be a knock; at sniffed ports they log what can. Throws
 * FirewallError.
 */
export async function setPrefilter(
  server: Server,
  { config, firewall }: Pick<Active, "config" | "firewall">,
): Promise<void> {
  const nowMs = server.runtime.nowMs();
  const tags = tagsOf(config, server.fleet, nowMs);
  const prefilter = prefilterOf(config, server.fleet, tags);
  const sniffed = sniffedOf(config, server.fleet, tags);
  const isTagged = prefilter !== null || sniffed?.tags;
  server.prefilterWindow = isTagged && firewall.kernel ? windowOf(nowMs) : null;
  if (!firewall.kernel) return;
  await firewall.kernel.setPrefilter(prefilter, sniffed);
  notePrefilter(server, firewall.kernel.prefilter);
}

/** Tells `status` where junk is dropped, and the log why not as it was wanted. */
function notePrefilter({ store, log }: Server, state: PrefilterState): void {
  const before = store.fact("prefilter") as PrefilterState | null;
  if (JSON.stringify(state) === JSON.stringify(before)) return;
  attempt(log, () => store.setFact("prefilter", state));
  const { problem } = state;
  if (problem !== null && problem !== before?.problem) {
    log("warn", `firewall.prefilter: ${problem}`);
  }
}

/** Replaces the tags where their window is over. Throws FirewallError. */
export async function renewPrefilter(server: Server): Promise<void> {
  const { runtime, prefilterWindow, active } = server;
  if (prefilterWindow === null) return;
  if (prefilterWindow === windowOf(runtime.nowMs())) return;
  await setPrefilter(server, active);
}

type Tags = Pick<Prefilter, "tags" | "webTags">;

/** The prefilter of a configuration; null where a client speaks another dialect, which has no tags. */
function prefilterOf(
  { clients, listen, firewall }: Config,
  fleet: Fleet | null,
  tags: Tags,
): Prefilter | null {
  if (firewall.prefilter === "off") return null;
  const shared = fleet?.clients.dialects ?? [];
  const used = [...clients.flatMap(dialectsOf), ...shared];
  if (used.some((dialect) => dialect !== "knock")) return null;
  return { ports: listen.map(({ port }) => port), ...tags };
}

/** Forms and tags for the sniffed ports; null where there are none. */
function sniffedOf(
  { clients: own, sniffed }: Config,
  fleet: Fleet | null,
  { tags, ...web }: Tags,
): Sniffed | null {
  if (sniffed.length === 0) return null;
  const clients = [...own, ...fleet?.clients.listed ?? []];
  const shared = fleet?.clients.dialects ?? [];
  const hasKnock = shared.includes("knock") ||
    clients.some(({ knock }) => knock);
  return {
    ports: sniffed.map(({ port }) => port),
    forms: [
      ...kernelForms(clients, (name) => name !== "knock"),
      ...shared.filter((name) => name !== "knock").map(sharedForm),
    ],
    tags: hasKnock ? tags : null,
    ...web,
  };
}

/** Tags of this minute and its neighbours. */
function tagsOf(config: Config, fleet: Fleet | null, nowMs: number): Tags {
  const server = publicKeyOf(config.key);
  // One window more: the timer that renews them may be late.
  const windows = tagWindows(
    nowMs + WINDOW_MS / 2,
    config.maxSkewMs + WINDOW_MS / 2,
  );
  const tags = windows.map((window) => tagOf(server, window));
  if (!fleet?.clients.hasWeb && !config.clients.some(({ web }) => web)) {
    return { tags };
  }
  const webTags = tags.map((tag) => new TextEncoder().encode(webTagText(tag)));
  return { tags, webTags };
}

function windowOf(nowMs: number): number {
  return Math.floor(nowMs / WINDOW_MS);
}
