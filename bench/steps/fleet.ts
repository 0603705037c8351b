/**
 * A fleet of three gateways on three nodes of etcd, in namespaces of one
 * machine: from the packet at one of them until each lets its sender in.
 */

import {
  addressOf,
  FleetStage,
  KNOCK_PORT,
  NODES,
} from "../../tests/netns/fleet.ts";
import { scriptCommand } from "../../tests/netns/netns.ts";
import type { Opened, ProbeOrder } from "../prober/orders.ts";
import type { Step } from "../step.ts";

/** Knocks of each kind, and those before them that are not counted. */
const ROUNDS = 60;
const QUICK_ROUNDS = 10;
const WARM_UP = 6;

const OPEN_MS = 5000;

export const fleet: Step = {
  name: "fleet",
  measures: ["fleet_open_ms_median", "fleet_others_open_ms_median"],
  peers: [],
  programs: ["ip", "nft", "etcd", "etcdctl"],
  inNamespaces: true,

  async run({ results, quick }) {
    const rounds = quick ? QUICK_ROUNDS : ROUNDS;
    const stage = new FleetStage();
    try {
      await stage.make();
      // One service, as in the row of a single host.
      const clients = [stage.clientLine("alice", stage.alice, "open: [ssh]")];
      for (const node of NODES) stage.configure(node, { clients });
      await stage.startEngines();
      await stage.startAll();
      const prober = stage.clientTalker(
        scriptCommand("../../bench/prober.ts"),
      );
      const own: number[] = [];
      const others: number[] = [];
      const sources = Array.from(
        { length: 2 * rounds + WARM_UP },
        (_, index) => `10.79.0.${20 + index}`,
      );
      await stage.addAddresses(sources);
      for (const [index, source] of sources.entries()) {
        const at = NODES[index % NODES.length]!;
        const isOwn = index % 2 === 0;
        const target = isOwn ? at : NODES[(index + 1) % NODES.length]!;
        const order: ProbeOrder = {
          do: "open",
          source,
          target: addressOf(target),
          at: addressOf(at),
          port: 22,
          triggers: [{ udp: stage.packet().toBase64(), port: KNOCK_PORT }],
          timeoutMs: OPEN_MS,
        };
        const { ms, wasShut } = await prober.ask<Opened>(order);
        if (!wasShut || ms === null) throw new Error(`${source}: no opening`);
        if (index >= WARM_UP) (isOwn ? own : others).push(ms);
      }
      results.timings("measures", "fleet_open_ms_median", own);
      results.timings("measures", "fleet_others_open_ms_median", others);
    } finally {
      await stage.remove();
    }
  },
};
