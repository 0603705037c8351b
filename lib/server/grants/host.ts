/**
 * The host's own rules, and what they mean for grants: read at start, on
 * reload and every few seconds, beside the changes of the firewall; asked at
 * each knock from memory.
 * @module
 */

import { type Config, knockSocketsOf } from "../../config/config.ts";
import {
  type Family,
  familyOf,
  FirewallError,
  type Grant,
} from "../../firewall/firewall.ts";
import type { HostRules } from "../../firewall/host/model.ts";
import {
  type Blocked,
  familiesHere,
  findBlocked,
  judgeWanted,
  ownOf,
  type Wanted,
} from "../../firewall/host/granted.ts";
import { HostReader } from "../../firewall/host/read.ts";
import {
  formatEndpoint,
  isIpv4,
  isLoopback,
  parseAddress,
} from "../../values/address.ts";
import {
  containsPorts,
  formatPortRange,
  onePort,
  type PortRange,
} from "../../values/ports.ts";
import { attempt, type Outside } from "../report/log.ts";

/** Age from which on the rules are read again before a grant is refused. */
const FRESH_MS = 1000;

/** Shortest pause between readings, as a multiple of the time that the last one took. */
const PAUSE = 20;

/** Most answers that are kept. */
const MAX_ANSWERS = 4096;

/** One port that the host's own rules keep closed, as `status --json` prints it. */
export interface HostFact {
  /** Dropped traffic: incoming knocks, or connections to what they open. */
  readonly what: "knock" | "service";
  /** Such as "tcp/22". */
  readonly ports: string;
  readonly families: readonly ("ipv4" | "ipv6")[];
  /** The rule that drops it, in words. */
  readonly by: string;
  readonly hint: string;
}

/** Knows which granted ports the host's own rules would drop. */
export class HostWatch {
  readonly #world: Outside;
  readonly #reader: HostReader;
  #rules: HostRules | null = null;
  #config: Config | null = null;
  #readMs = 0;
  #notBeforeMs = 0;
  #reading: Promise<void> | null = null;
  /** Answers that do not depend on a source, by family, ports and target. */
  readonly #answers = new Map<string, Blocked | "passes" | "by source">();
  /** Message that was logged last. */
  #reported: string | null = null;

  constructor(world: Outside) {
    this.#world = world;
    this.#reader = new HostReader(world.runtime);
  }

  /** True if the last reading of the host's rules succeeded. */
  get isRead(): boolean {
    return this.#rules !== null;
  }

  /** Reads the host's rules where it is time to, and logs what has changed for this configuration. */
  async look(config: Config): Promise<void> {
    const nowMs = this.#world.runtime.monotonicMs();
    if (this.#config === config && nowMs < this.#notBeforeMs) return;
    await this.#readNow(config);
  }

  /** Throws FirewallError where the host's own rules would surely drop what is granted. */
  async check(config: Config, grant: Grant): Promise<void> {
    let blocked = this.#findBlocked(grant);
    if (
      blocked && this.#world.runtime.monotonicMs() - this.#readMs > FRESH_MS
    ) {
      await this.#readNow(config);
      blocked = this.#findBlocked(grant);
    }
    if (!blocked) return;
    throw new FirewallError(
      `${formatPortRange(blocked.ports)} stays closed: ${blocked.by}`,
      blocked.hint,
    );
  }

  #readNow(config: Config): Promise<void> {
    this.#reading ??= this.#read(config).finally(() => this.#reading = null);
    return this.#reading;
  }

  async #read(config: Config): Promise<void> {
    const runtime = this.#world.runtime;
    const sinceMs = runtime.monotonicMs();
    const own = ownOf(config.firewall);
    const chain = config.firewall.backend === "iptables" ? own?.chain : null;
    const rules = own ? await this.#reader.read(chain ?? null) : null;
    const nowMs = runtime.monotonicMs();
    this.#readMs = nowMs;
    this.#notBeforeMs = nowMs + PAUSE * (nowMs - sinceMs);
    if (rules === this.#rules && config === this.#config) return;
    this.#rules = rules;
    this.#config = config;
    this.#answers.clear();
    this.#report(rules ? hostFacts(rules, config) : []);
  }

  #report(facts: readonly HostFact[]): void {
    const { store, log } = this.#world;
    const text = JSON.stringify(facts);
    if (text === this.#reported) return;
    const isMended = facts.length === 0 && this.#reported !== null;
    this.#reported = text;
    attempt(log, () => store.setFact("host", facts));
    if (isMended) log("info", "the host's own rules let grants through again");
    for (const fact of facts) {
      log("warn", describeHostFact(fact), { ports: fact.ports });
    }
  }

  #findBlocked({ address: source, ports, to, at }: Grant): Blocked | null {
    const rules = this.#rules;
    const config = this.#config;
    if (!rules || !config) return null;
    // What comes over the loopback meets other rules.
    if (isLoopback(source) || rules.local.includes(source)) return null;
    const { firewall } = config;
    const wanted = at
      ? { ports, to: null, at }
      : { ports, to: to ?? targetOf(config, ports) };
    const family = familyOf(source);
    const key = `${family} ${formatPortRange(ports)} ${
      wanted.to ? formatEndpoint(wanted.to) : at ?? ""
    }`;
    let answer = this.#answers.get(key);
    if (answer === undefined) {
      const own = ownOf(firewall)!;
      const { passes } = judgeWanted(rules, wanted, { family }, own);
      answer = passes === "no"
        ? findBlocked(rules, wanted, { family }, firewall) ?? "passes"
        : passes === "yes"
        ? "passes"
        : "by source";
      if (this.#answers.size >= MAX_ANSWERS) this.#answers.clear();
      this.#answers.set(key, answer);
    }
    if (answer === "passes") return null;
    if (answer !== "by source") return answer;
    // Of a network, some addresses may pass.
    if (source.includes("/")) return null;
    return findBlocked(rules, wanted, { family, source }, firewall);
  }
}

/** Everything of a configuration that the host's own rules surely drop. */
export function hostFacts(rules: HostRules, config: Config): HostFact[] {
  const { firewall, services, clients, sequences } = config;
  const granted: PortRange[] = [
    ...services.filter(({ at }) => !at).flatMap(({ ports }) => ports),
    ...clients.flatMap(({ open, here = open }) => here),
    ...sequences.flatMap(({ opens }) => opens.flatMap(({ open }) => open)),
  ];
  const facts = new Map<string, HostFact>();
  const ask = (
    what: HostFact["what"],
    wanted: Wanted,
    families: readonly Family[],
    by: Config["firewall"],
  ) => {
    for (const family of families) {
      const blocked = findBlocked(rules, wanted, { family }, by);
      if (!blocked) continue;
      const { by: rule, hint } = blocked;
      const ports = formatPortRange(blocked.ports);
      const fact = { what, ports, by: rule, hint };
      const key = JSON.stringify(fact);
      const families = new Set(facts.get(key)?.families)
        .add(family === 4 ? "ipv4" : "ipv6");
      facts.set(key, { ...fact, families: [...families] });
    }
  };
  const here = familiesHere(rules);
  for (const { host, port, protocol } of knockSocketsOf(config)) {
    const ports = onePort(protocol, port);
    const families = host === "::"
      ? here
      : isLoopback(host)
      ? []
      : [isIpv4(host) ? 4 : 6] as const;
    ask("knock", { ports, to: null }, families, {
      ...firewall,
      backend: firewall.backend === "command" ? "command" : "gate",
      mode: "guard",
    });
  }
  for (const ports of granted) {
    ask("service", { ports, to: targetOf(config, ports) }, here, firewall);
  }
  for (const { ports, at = [] } of services) {
    // A name is resolved when the server starts.
    for (const address of at.filter((one) => parseAddress(one) === one)) {
      for (const range of ports) {
        const wanted = { ports: range, to: null, at: address };
        ask("service", wanted, [familyOf(address)], firewall);
      }
    }
  }
  return [...facts.values()];
}

/** A fact as one line for people; without its hint where that is null. */
export function describeHostFact(
  { what, ports, families, by, hint }:
    & Omit<HostFact, "hint">
    & { readonly hint: string | null },
): string {
  const only = families.length === 1
    ? ` (${families[0] === "ipv4" ? "IPv4" : "IPv6"})`
    : "";
  const words = what === "knock"
    ? "no knock comes in"
    : "stays closed after a knock";
  return `${ports}${only}: ${words}: ${by}${hint === null ? "" : `; ${hint}`}`;
}

/** Target that the nft backend forwards these ports to; null = this machine. */
function targetOf(
  { firewall, services }: Config,
  ports: PortRange,
): Wanted["to"] {
  if (firewall.backend !== "nft") return null;
  return services.find((service) =>
    !service.at &&
    service.ports.some((range) => containsPorts(range, ports))
  )?.to ?? null;
}
