/** Conditions of nftables' rules, from nft's JSON, as far as a probe meets them. Pure. */

import { protocolOf } from "../../../values/ports.ts";
import {
  addressWithin,
  any,
  both,
  type Match,
  not,
  portWithin,
  type Probe,
  sure,
} from "../model.ts";

// deno-lint-ignore no-explicit-any -- what it does not know it takes as "maybe"
export type Json = any;

/** Elements of a named set, such as "@ports"; null: not known. */
export type Named = (name: string) => readonly Json[] | null;

/** Element of a set or map that stands for all values without one of their own. */
export const ALL = "*";

/** Matches a probe against a condition. */
export function compare(
  { op, left, right }: Json,
  probe: Probe,
  named: Named,
): Match {
  // A packet without such a header meets no condition about it.
  if (isAbsent(left, probe)) return "no";
  if (op === "==" || op === "in") return is(left, right, probe, named);
  if (op === "!=") return not(is(left, right, probe, named));
  const order = ORDERS.get(op);
  const value = valueOf(left, probe);
  if (!order || typeof value !== "number" || typeof right !== "number") {
    return "maybe";
  }
  return sure(order(value, right));
}

const ORDERS: ReadonlyMap<string, (a: number, b: number) => boolean> = new Map([
  ["<", (a, b) => a < b],
  [">", (a, b) => a > b],
  ["<=", (a, b) => a <= b],
  [">=", (a, b) => a >= b],
]);

/** Matches the left side of a condition against a value, or one of a set. */
export function is(left: Json, right: Json, probe: Probe, named: Named): Match {
  if (isAbsent(left, probe)) return "no";
  if (right === ALL) return "yes";
  const has = (one: Json) => is(left, one, probe, named);
  if (left?.["&"]) return masked(left["&"], right);
  if (isFlags(left)) return flagged(right);
  if (Array.isArray(right)) return any(right.map(has));
  if (Array.isArray(right?.set)) return any(right.set.map(has));
  if (right?.elem) return has(right.elem.val);
  if (typeof right === "string" && right.startsWith("@")) {
    const elements = named(right);
    return elements ? any(elements.map(has)) : "maybe";
  }
  if (Array.isArray(left?.concat)) {
    const parts = right?.concat;
    if (!Array.isArray(parts)) return "maybe";
    return parts.reduce<Match>(
      (so, part, index) => both(so, is(left.concat[index], part, probe, named)),
      "yes",
    );
  }
  return isValue(left, right, probe);
}

/** Matches one part of a packet against a value, or a value of a range. */
function isValue(left: Json, right: Json, probe: Probe): Match {
  const { payload, meta } = left ?? {};
  if (meta?.key === "iif" || meta?.key === "iifname") {
    // From outside: over any interface but the loopback.
    return right === "lo" ? "no" : "maybe";
  }
  if (payload?.field === "saddr" || payload?.field === "daddr") {
    const address = payload.field === "saddr"
      ? probe.source
      : probe.forwardedTo;
    const { addr, len } = right?.prefix ?? {};
    const text = addr === undefined ? right : `${addr}/${len}`;
    if (typeof text !== "string") return "maybe";
    return addressWithin(address ?? null, text);
  }
  const isPort = payload?.field === "dport";
  const value = valueOf(left, probe);
  if (Array.isArray(right?.range)) {
    const [first, last] = right.range;
    if (isPort) return portWithin(probe.port, first, last);
    if (typeof value !== "number") return "maybe";
    return sure(value >= first && value <= last);
  }
  if (value === undefined || right === null || typeof right === "object") {
    return "maybe";
  }
  if (typeof value === "boolean" && typeof right !== "boolean") return "maybe";
  // A protocol may be a number; so may a port, which is none.
  const wanted = typeof value === "string" ? protocolOf(Number(right)) : null;
  return sure(value === (wanted ?? right));
}

function isFlags(left: Json): boolean {
  return left?.payload?.protocol === "tcp" && left.payload.field === "flags";
}

/** Matches flags of a first packet: SYN alone, but for ECN's. */
function flagged(right: Json): Match {
  const words = wordsOf(right);
  if (!words) return "maybe";
  if (words.includes("syn")) return "yes";
  return words.some((word) => ECN.includes(word)) ? "maybe" : "no";
}

/** Matches a packet's bits under a mask: flags of TCP, the offset of a fragment. */
function masked([left, mask]: Json[], right: Json): Match {
  if (left?.payload?.field === "frag-off") {
    return mask === FRAGMENT_OFFSET && right === 0 ? "yes" : "maybe";
  }
  const asked = isFlags(left) ? wordsOf(mask) : null;
  const wanted = right === 0 ? [] : wordsOf(right);
  if (!asked || !wanted || asked.some((word) => ECN.includes(word))) {
    return "maybe";
  }
  const bits = asked.includes("syn") ? ["syn"] : [];
  return sure(bits.join() === wanted.join());
}

const ECN: readonly string[] = ["ecn", "cwr"];
const FRAGMENT_OFFSET = 0x1fff;

/** The words of flags: "syn", [ "fin", "syn" ], { "|": [ … ] } or { "set": [ … ] }. */
function wordsOf(flags: Json): string[] | null {
  if (typeof flags === "string") return [flags];
  const parts = flags?.["|"] ?? flags?.set ?? flags;
  if (!Array.isArray(parts)) return null;
  const words = parts.map(wordsOf);
  return words.includes(null) ? null : words.flat() as string[];
}

/** True if a packet has no such header at all. */
function isAbsent(left: Json, probe: Probe): boolean {
  const { payload, exthdr, concat } = left ?? {};
  if (left?.["&"]) return isAbsent(left["&"]?.[0], probe);
  if (Array.isArray(concat)) {
    return concat.some((part) => isAbsent(part, probe));
  }
  // An extension's field; whether it exists is a value of its own.
  if (exthdr) return exthdr.field !== undefined;
  if (left?.rt?.key === undefined && left?.rt) return true;
  switch (payload?.protocol) {
    case undefined:
    case "th":
    case "ether":
    case "vlan":
      return false;
    case "ip":
      return probe.family !== 4;
    case "ip6":
      return probe.family !== 6;
    default:
      return payload.protocol !== probe.protocol;
  }
}

/** Value of a probe in this place; undefined: unknown. */
function valueOf(
  left: Json,
  { protocol, family, port, forwardedTo, routed }: Probe,
): string | number | boolean | undefined {
  const { payload, meta, ct, fib, exthdr } = left ?? {};
  switch (payload?.field) {
    case "dport":
      return port ?? undefined;
    case "protocol":
    case "nexthdr":
      return protocol;
  }
  switch (meta?.key) {
    case "l4proto":
      return protocol;
    case "nfproto":
      return family === 4 ? "ipv4" : "ipv6";
    case "protocol":
      return family === 4 ? "ip" : "ip6";
    case "pkttype":
      return "host";
  }
  switch (ct?.key) {
    case "state":
      return "new";
    case "status":
      return forwardedTo === undefined || routed ? "none" : "dnat";
    case "direction":
      return "original";
  }
  if (exthdr) return false;
  const fromSource = [fib?.flags].flat().includes("saddr");
  if (fib?.result === "type") {
    return fromSource || forwardedTo !== undefined ? "unicast" : "local";
  }
  // The way back to a sender whom an answer can reach.
  return fib?.result === "oif" && fromSource ? true : undefined;
}
