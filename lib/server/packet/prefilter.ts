/** The kernel gate's tags: those of this minute and its neighbours, replaced as it passes. */

import type { Config } from "../../config/config.ts";
import { dialectsOf } from "../../dialects/table.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { tagOf, tagWindows, WINDOW_MS } from "../../dialects/knock1/tag.ts";
import { webTagText } from "../../dialects/knock1/web/form.ts";
import type { Firewall, Prefilter } from "../../firewall/firewall.ts";
import type { Runtime } from "../../runtime/runtime.ts";

/** Keeps the kernel gate up to date. Methods throw FirewallError. */
export class PrefilterTags {
  readonly #runtime: Runtime;
  /** The window whose tags the kernel has; null without a gate. */
  #window: number | null = null;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** Has the kernel sort out junk, where every packet must be a knock/1. */
  async set(config: Config, firewall: Firewall): Promise<void> {
    const nowMs = this.#runtime.nowMs();
    const gate = kernelGate(config, nowMs);
    this.#window = gate && firewall.kernel ? windowOf(nowMs) : null;
    await firewall.kernel?.setPrefilter(gate);
  }

  /** Replaces the tags where their window is over. */
  async renew(config: Config, firewall: Firewall): Promise<void> {
    const window = windowOf(this.#runtime.nowMs());
    if (this.#window === null || this.#window === window) return;
    await this.set(config, firewall);
  }
}

/** The gate of a configuration; null where a client speaks another dialect, which has no tags. */
function kernelGate(config: Config, nowMs: number): Prefilter | null {
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
