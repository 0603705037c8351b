/** The prefilter's tags: those of this minute and its neighbours, replaced as it passes. */

import type { Config } from "../../config/config.ts";
import { dialectsOf } from "../../dialects/table.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { tagOf, tagWindows, WINDOW_MS } from "../../dialects/knock1/tag.ts";
import { webTagText } from "../../dialects/knock1/web/form.ts";
import type { Prefilter } from "../../firewall/firewall.ts";
import type { Active, Server } from "../state/server.ts";

/** Has the kernel sort out junk, where every packet must be a knock/1. Throws FirewallError. */
export async function setPrefilter(
  server: Server,
  { config, firewall }: Pick<Active, "config" | "firewall">,
): Promise<void> {
  const nowMs = server.runtime.nowMs();
  const prefilter = prefilterOf(config, nowMs);
  server.prefilterWindow = prefilter && firewall.kernel
    ? windowOf(nowMs)
    : null;
  await firewall.kernel?.setPrefilter(prefilter);
}

/** Replaces the tags where their window is over. Throws FirewallError. */
export async function renewPrefilter(server: Server): Promise<void> {
  const { runtime, prefilterWindow, active } = server;
  if (prefilterWindow === null) return;
  if (prefilterWindow === windowOf(runtime.nowMs())) return;
  await setPrefilter(server, active);
}

/** The prefilter of a configuration; null where a client speaks another dialect, which has no tags. */
function prefilterOf(config: Config, nowMs: number): Prefilter | null {
  const ports = config.listen.map(({ port }) => port);
  const used = config.clients.flatMap(dialectsOf);
  if (used.some((dialect) => dialect !== "knock")) return null;
  const server = publicKeyOf(config.key);
  // One window more: the timer that renews them may be late.
  const windows = tagWindows(
    nowMs + WINDOW_MS / 2,
    config.maxSkewMs + WINDOW_MS / 2,
  );
  const tags = windows.map((window) => tagOf(server, window));
  if (!config.clients.some(({ web }) => web)) return { ports, tags };
  const webTags = tags.map((tag) => new TextEncoder().encode(webTagText(tag)));
  return { ports, tags, webTags };
}

function windowOf(nowMs: number): number {
  return Math.floor(nowMs / WINDOW_MS);
}
