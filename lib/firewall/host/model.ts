/**
 * One model of the host's packet filters, nftables and iptables alike. Conditions
 * that it cannot know count as "maybe". Pure.
 * @module
 */

import { parsePrefix, prefixContains } from "../../values/address.ts";
import type { Protocol } from "../../values/ports.ts";
import type { Family } from "../firewall.ts";

/** First packet of a connection from another machine. */
export interface Probe {
  readonly family: Family;
  readonly protocol: Protocol;
  /** Null = any port, so that only rules for every port are certain. */
  readonly port: number | null;
  /** The sender's address, canonical; absent: any. */
  readonly source?: string;
  /** Set on the way through the forward hook: the new destination, null = unknown. */
  readonly forwardedTo?: string | null;
  /** True on the way to a host behind this machine, which no DNAT leads to. */
  readonly routed?: boolean;
}

/** Truth of a condition; maybe: for some sources, interfaces, rates or marks. */
export type Match = "yes" | "no" | "maybe";

export type RuleAction =
  | { readonly do: "accept" | "drop" | "return" | "pass" | "unknown" }
  | { readonly do: "jump" | "goto"; readonly chain: string }
  /** To another machine or a container, past the input hook. */
  | { readonly do: "dnat"; readonly to: string }
  /** To another port of this machine; null = the same or unknown. */
  | { readonly do: "redirect"; readonly port: number | null };

export interface HostRule {
  readonly match: (probe: Probe) => Match;
  readonly action: RuleAction;
  /** The rule for people, as its own tool writes it. */
  readonly text: string;
}

export interface FilterChain {
  /** Such as "inet filter"; "legacy ip filter" for the kernel's own iptables. */
  readonly table: string;
  readonly name: string;
  readonly families: readonly Family[];
  /** Kernel hook that calls it; null: only other chains do. */
  readonly hook: { readonly kind: string; readonly at: string } | null;
  readonly policy: "accept" | "drop";
  readonly rules: readonly HostRule[];
}

/** All of a host's packet filters. */
export interface HostRules {
  readonly chains: readonly FilterChain[];
  /** Tables of nftables, as "inet knock". */
  readonly tables: readonly string[];
  /** This machine's own addresses; what is redirected to them stays here. */
  readonly local: readonly string[];
}

/** This program's own rules, which decide by grants and not by the host's wishes. */
export interface Own {
  /** A chain in a table of the host, "inet filter knock", or a chain of iptables by name; null = none. */
  readonly chain: string | null;
  /** True: a granted packet is accepted there; false: it returns to the host's rules. */
  readonly accepts: boolean;
}

/** Truth of two conditions together. */
export function both(a: Match, b: Match): Match {
  if (a === "no" || b === "no") return "no";
  return a === "yes" && b === "yes" ? "yes" : "maybe";
}

/** Truth of at least one condition. */
export function any(all: readonly Match[]): Match {
  if (all.includes("yes")) return "yes";
  return all.includes("maybe") ? "maybe" : "no";
}

/** Truth of the opposite. */
export function not(match: Match): Match {
  return match === "maybe" ? match : match === "yes" ? "no" : "yes";
}

/** Certain truth. */
export function sure(is: boolean): Match {
  return is ? "yes" : "no";
}

/** Matches a port against a range; "maybe" where any port is meant. */
export function portWithin(
  port: number | null,
  first: number,
  last: number,
): Match {
  if (port !== null) return sure(first <= port && port <= last);
  return first <= 0 && last >= 65535 ? "yes" : "maybe";
}

/** Matches an address, null = unknown, against "ADDRESS/BITS". */
export function addressWithin(address: string | null, text: string): Match {
  if (/\/0$/.test(text)) return "yes";
  const prefix = parsePrefix(text);
  return address === null || !prefix
    ? "maybe"
    : sure(prefixContains(prefix, address));
}
