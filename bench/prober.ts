/**
 * The client's side of the measurements: one JSON order a line on standard
 * input, one answer a line on standard output. It blocks while it measures.
 * @module
 */

import { createInterface } from "node:readline";
import process from "node:process";
import { connectOften, interleave, watch } from "./prober/connecting.ts";
import { fill } from "./prober/filling.ts";
import { open, openByReply } from "./prober/opening.ts";
import type {
  Connections,
  Filled,
  Interleaved,
  Opened,
  Openness,
  ProbeOrder,
} from "./prober/orders.ts";

function follow(
  order: ProbeOrder,
): Opened | Filled | Connections | Openness | Promise<Interleaved> {
  switch (order.do) {
    case "interleave":
      return interleave(order);
    case "open":
      return open(order);
    case "reply":
      return openByReply(order);
    case "fill":
      return fill(order);
    case "watch":
      return watch(order);
    case "connect":
      return connectOften(order);
  }
}

if (import.meta.main) {
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as ProbeOrder & { id: number };
    const answer = { id: order.id, ...await follow(order) };
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
}
