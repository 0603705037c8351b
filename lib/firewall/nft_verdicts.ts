/** What one rule of the host decides, and of which packets. Pure. */

import { type Statement, wordOf } from "./nft_json.ts";

/** One thing that a rule may decide. */
export interface Verdict {
  readonly verdict: "accept" | "drop" | "return" | "jump" | "goto";
  /** The chain that it leads to. */
  readonly target: string | null;
}

/** All verdicts of a rule, those in maps too. */
export function verdictsOf(value: unknown): Verdict[] {
  if (Array.isArray(value)) return value.flatMap(verdictsOf);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]): Verdict[] => {
    switch (key) {
      case "accept":
      case "drop":
      case "return":
        return [{ verdict: key, target: null }];
      case "reject":
        return [{ verdict: "drop", target: null }];
      // What xtables or a program decides is not shown: it may accept.
      case "xt":
      case "queue":
        return [{ verdict: "accept", target: null }];
      case "jump":
      case "goto":
        return [{ verdict: key, target: wordOf((inner as Statement).target) }];
      case "vmap":
        return verdictsOf((inner as Statement).data);
      case "set":
        return verdictsOf(inner);
      default:
        return [];
    }
  });
}

/** Statements that a rule goes on behind in any case. */
const PASSING = new Set(["counter", "log", "mangle", "notrack"]);
const VERDICTS = new Set([
  "accept",
  "drop",
  "reject",
  "return",
  "jump",
  "goto",
]);

/** Whether a rule decides of every packet. */
export function isUnconditional(rule: readonly Statement[]): boolean {
  return rule.every((statement) =>
    Object.keys(statement).every((key) => PASSING.has(key) || VERDICTS.has(key))
  );
}

/** Whether a rule is for what is no new connection: established ones, loopback, ICMP. */
export function isForOthers(rule: readonly Statement[]): boolean {
  return rule.some(({ match }) => {
    const { op, left, right } = (match ?? {}) as Statement;
    const words = JSON.stringify(right ?? null);
    const { ct, meta, payload } = (left ?? {}) as Record<string, Statement>;
    if (op === "!=") return false;
    if (ct?.key === "state" || ct?.key === "status") return !/new/.test(words);
    if (meta?.key === "iifname" || meta?.key === "iif") return words === '"lo"';
    if (meta?.key === "l4proto" || payload?.field === "nexthdr") {
      return !/tcp|udp|\b6\b|\b17\b/.test(words);
    }
    return payload?.field === "protocol"
      ? !/tcp|udp|\b6\b|\b17\b/.test(words)
      : /^icmp/.test(String(payload?.protocol));
  });
}
