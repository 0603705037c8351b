/** The kernel gate's tags: those of this minute and its neighbours, replaced as it passes. */

import { type Config, dialectsOf } from "../config/config.ts";
import {
  publicKeyOf,
  tagOf,
  tagWindows,
  WINDOW_MS,
} from "../dialects/knock1.ts";
import type { Firewall, KernelGate } from "../firewall/firewall.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Keeps the kernel gate up to date. Methods throw FirewallError. */
export class GateTags {
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
    this.#window = gate.tags.length > 0 && firewall.setGate
      ? windowOf(nowMs)
      : null;
    await firewall.setGate?.(gate);
  }

  /** Replaces the tags where their window is over. */
  async renew(config: Config, firewall: Firewall): Promise<void> {
    const window = windowOf(this.#runtime.nowMs());
    if (this.#window === null || this.#window === window) return;
    await this.set(config, firewall);
  }
}

/** What the kernel may sort out: all that is no knock/1, where nothing else is spoken; else what is too much. */
function kernelGate(config: Config, nowMs: number): KernelGate {
  const ports = config.listen.map(({ port }) => port);
  const used = config.clients.flatMap(dialectsOf);
  if (used.some((dialect) => dialect !== "knock")) {
    return { ports: [], otherPorts: ports, tags: [] };
  }
  const server = publicKeyOf(config.key);
  // One window more: the timer that renews them may be late.
  const windows = tagWindows(
    nowMs + WINDOW_MS / 2,
    config.maxSkewMs + WINDOW_MS / 2,
  );
  return {
    ports,
    otherPorts: [],
    tags: windows.map((window) => tagOf(server, window)),
  };
}

function windowOf(nowMs: number): number {
  return Math.floor(nowMs / WINDOW_MS);
}
