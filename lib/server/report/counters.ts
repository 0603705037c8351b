/** Counters by name, and their meanings: packets of strangers are counted, never logged. */

import { counted, toIdentifier } from "../../values/text.ts";

/** Counts by name; the names are ours, so their number is bounded. */
export class Counters {
  readonly #counts = new Map<string, number>();
  #changed = false;

  /** All counts so far. */
  get all(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  /** Takes over a count from elsewhere, such as the kernel. */
  set(name: string, count: number): void {
    if (this.#counts.get(name) === count) return;
    this.#counts.set(name, count);
    this.#changed = true;
  }

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
    this.#changed = true;
  }

  /** All counts so far; null if nothing changed since the last call. */
  takeChanged(): Readonly<Record<string, number>> | null {
    if (!this.#changed) return null;
    this.#changed = false;
    return this.all;
  }
}

/** Short words about each counter, by its name; docs/troubleshooting.md has the long ones. */
const MEANINGS: Readonly<Record<string, string>> = {
  "received": "packets that reached the server",
  "open": "requests that opened ports",
  "close": "requests that closed ports",
  "run": "commands run",
  "ping": "pings answered",
  "kernel: wrong tag": "another server's key, or a clock that is off",
  "kernel: wrong length": "not knock/1: a scanner, or another tool",
  "kernel: no knock": "to a sniffed port, without the form of a knock",
  "refused: form": "no packet of a dialect in use",
  "refused: length": "not the length of its dialect's packets",
  "refused: version": "another version of its protocol",
  "refused: tag": "another server's key, or a clock that is off",
  "refused: adk": "OpenSPA's proof is wrong",
  "refused: mac": "damaged, or forged with a copied tag",
  "refused: rate": "more failed packets than its dialect may cost",
  "refused: busy": "too many OpenPGP packets at once",
  "refused: noise": "another pre-shared key: enrol it again",
  "refused: cipher": "cannot be decrypted: another key",
  "refused: signature": "not signed by the client's key",
  "refused: integrity": "a browser's check without its password",
  "refused: unknown client": "a key that is not enrolled here",
  "refused: payload": "authentic, but without a meaning here",
  "refused: time": "the client's or the server's clock is off",
  "refused: replay": "accepted before: a copy",
  "refused: expired": "the client has expired",
  "refused: hours": "outside the client's hours",
  "refused: address required": "the client must name its address",
  "refused: address": "names an address that it may not open for",
  "refused: source": "not an address of the client's `from`",
  "refused: ports": "ports that the client may not open",
  "refused: protocol": "a protocol without ports",
  "refused: target": "not an address of this machine",
  "refused: nothing to open": "the client may open nothing",
  "refused: forward": "a forward that the client may not have",
  "refused: command": "a command that the client may not run",
  "refused: code": "the one-time code is wrong or missing",
  "refused: code used": "the one-time code was used before",
  "refused: code tries": "too many wrong one-time codes",
  "refused: connections": "closed to make room for others",
  "failed: firewall": "the firewall reported an error: knock log",
  "failed: state": "the state could not be written: disk full?",
  "failed: busy": "too many requests of one client waiting",
  "failed: connection": "the gate did not reach the service",
  "failed: reply": "the reply could not be sent",
  "fleet: ours": "claimed for this gateway",
  "fleet: taken": "accepted by another gateway before: a copy",
  "fleet: unknown": "the engine did not answer in time",
  "fleet: grant refused": "another gateway's grant, against the policy here",
  "fleet: bad value": "in the engine, not sealed by this fleet",
  "fleet: accepted twice": "by two gateways that were apart",
  "left out: every": "a sequence's program, by its cooldown",
  "left out: from": "a sequence from another source",
  "left out: busy": "a program, because 16 were running",
  "left out: hook": "a hook, because 1,000 were waiting",
};

/** Kinds of counters in the order in which they are shown: what went wrong first. */
const KINDS = ["failed", "refused", "kernel", "left out"];

/** Counters without zeros: failures, refusals, and then what was done; without a meaning: of another version. */
export function shownCounters(
  counters: Readonly<Record<string, number>>,
): { name: string; count: number; meaning: string }[] {
  const rank = (name: string) => {
    const at = KINDS.indexOf(name.split(":")[0]!);
    return at < 0 ? KINDS.length : at;
  };
  return Object.entries(counters)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => ({ name, count, meaning: MEANINGS[name] ?? "" }))
    .sort((a, b) =>
      rank(a.name) - rank(b.name) || b.count - a.count ||
      (a.name < b.name ? -1 : 1)
    );
}

/** Packets that came, and what became of them: "6 packets came: 6 refused: tag (…)"; null if none came. */
export function describeArrivals(
  counters: Readonly<Record<string, number>>,
): string | null {
  const shown = shownCounters(counters);
  const came = shown.filter(({ name }) =>
    name === "received" || name.startsWith("kernel: ")
  ).reduce((sum, { count }) => sum + count, 0);
  if (came === 0) return null;
  const outcomes = shown.filter(({ name }) => name !== "received")
    .sort((a, b) => b.count - a.count)
    .map(({ name, count, meaning }) =>
      `${count} ${name}${meaning && ` (${meaning})`}`
    );
  return [`${counted(came, "packet")} came`, outcomes.join(", ")]
    .filter(Boolean).join(": ");
}

/** Counters by identifiers, as JSON and Prometheus have them: "refused_tag". */
export function counterIds(
  counters: Readonly<Record<string, number>>,
): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counters)
      .map(([name, count]) => [toIdentifier(name), count]),
  );
}
