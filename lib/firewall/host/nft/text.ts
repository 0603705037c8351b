/** Rules of nftables for people, from nft's JSON: near to what nft prints. Pure. */

import type { Json } from "./match.ts";

/** Longest text of a rule, characters. */
const MAX_TEXT = 120;

/** A rule as one line; parts without a form of their own are shown as "…". */
export function formatRule(expr: readonly Json[]): string {
  const text = expr.map(formatStatement).filter(Boolean).join(" ");
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 1)}…` : text;
}

function formatStatement(part: Json): string {
  const [kind = "…"] = Object.keys(part ?? {});
  const value = part?.[kind];
  switch (kind) {
    case "match": {
      const { op, left, right } = value ?? {};
      const shown = op === "==" || op === "in" ? "" : ` ${op}`;
      return `${formatValue(left)}${shown} ${formatValue(right)}`;
    }
    case "vmap":
      return `${formatValue(value?.key)} vmap ${formatValue(value?.data)}`;
    case "jump":
    case "goto":
      return `${kind} ${value?.target}`;
    case "counter":
    case "mangle":
      return "";
    case "log":
      return value?.prefix
        ? `log prefix ${JSON.stringify(value.prefix)}`
        : kind;
    case "limit":
      return `limit rate ${value?.rate}/${value?.per}`;
    default:
      return kind;
  }
}

function formatValue(value: Json): string {
  if (typeof value === "string" || typeof value === "number") return `${value}`;
  if (typeof value === "boolean") return value ? "exists" : "missing";
  if (Array.isArray(value)) return value.map(formatValue).join(",");
  const [kind] = Object.keys(value ?? {});
  const inner = value?.[kind!];
  switch (kind) {
    case "payload":
      return `${inner.protocol ?? "payload"} ${inner.field ?? "…"}`;
    case "meta":
    case "ct": {
      const isBare = kind === "meta" && /^[io]if/.test(inner.key);
      return isBare ? inner.key : `${kind} ${inner.key}`;
    }
    case "fib":
      return `fib ${[inner.flags].flat().join(" . ")} ${inner.result}`;
    case "exthdr":
      return [kind, inner.name, inner.field].filter(Boolean).join(" ");
    case "range":
      return Array.isArray(inner) ? inner.map(formatValue).join("-") : "…";
    case "prefix":
      return `${inner.addr}/${inner.len}`;
    case "concat":
      return Array.isArray(inner) ? inner.map(formatValue).join(" . ") : "…";
    case "set":
      return Array.isArray(inner)
        ? `{ ${inner.map(formatElement).join(", ")} }`
        : "…";
    case "elem":
      return formatValue(inner?.val);
    case "&":
      return Array.isArray(inner)
        ? `${formatValue(inner[0])} & (${formatValue(inner[1])})`
        : "…";
    default:
      return "…";
  }
}

/** An element of a set, or of a map with where it leads. */
function formatElement(one: Json): string {
  if (!Array.isArray(one) || one.length !== 2) return formatValue(one);
  const [key, value] = one;
  const isVerdict = typeof value === "object" && value !== null;
  return `${formatValue(key)} : ${
    isVerdict ? formatStatement(value) : formatValue(value)
  }`;
}
