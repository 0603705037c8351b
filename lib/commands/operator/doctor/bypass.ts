/** Ways past the guard: ports that other rules forward before it, or lead to a guarded one. */

import { fatesIn, hooked } from "../../../firewall/host/flow.ts";
import type {
  FilterChain,
  HostRules,
  Probe,
  RuleAction,
} from "../../../firewall/host/model.ts";
import { ELSEWHERE } from "../../../firewall/host/nft/json.ts";
import { parseEndpoint } from "../../../values/address.ts";
import {
  containsPorts,
  onePort,
  type PortRange,
} from "../../../values/ports.ts";
import { bad, type Finding, ok } from "./finding.ts";

const ID = "filter_bypass";

/** Most ports of a range that are looked at. */
export const MAX_PROBED = 16;

/** Ports that are forwarded before any input chain, as those of containers: only mode guard comes before that. */
export function checkBypass(
  chains: readonly FilterChain[],
  guarded: readonly PortRange[],
  isGuarded: boolean,
): Finding[] {
  const findings = new Map<string, Finding>();
  for (const base of hooked(chains, "nat", "prerouting")) {
    for (const probe of probesOf(guarded)) {
      const [to] = [...fatesIn(base, chains, probe).keys()].filter((fate) =>
        fate.startsWith("dnat ") && fate !== `dnat ${ELSEWHERE}`
      );
      if (to === undefined) continue;
      const port = `${probe.protocol}/${probe.port}`;
      const what = `${port} is forwarded to ${to.slice("dnat ".length)}`;
      findings.set(
        port,
        isGuarded ? ok(ID, `${what}, and guarded before that`) : bad(
          ID,
          `${what} before any input chain, as Docker and Podman do with ` +
            "published ports: it is open to everybody",
          `firewall: { mode: guard } guards it; or publish it as ` +
            `127.0.0.1:${probe.port}:…`,
        ),
      );
    }
  }
  return [...findings.values()];
}

/** Ports without a guard that lead to a guarded one of this machine, behind its guard. */
export function checkDetours(
  { chains, local }: Pick<HostRules, "chains" | "local">,
  guarded: readonly PortRange[],
): Finding[] {
  const findings = new Map<string, Finding>();
  const isGuarded = (protocol: PortRange["protocol"], port: number) =>
    guarded.some((range) => containsPorts(range, onePort(protocol, port)));
  for (const { table, name, hook, families, rules } of chains) {
    if (hook !== null && hook.at !== "prerouting") continue;
    for (const { action, match, text } of rules) {
      const to = redirectedTo(action, local);
      for (const protocol of ["tcp", "udp"] as const) {
        if (to === null || !isGuarded(protocol, to)) continue;
        const leads = (port: number) =>
          match({ family: families[0]!, protocol, port }) === "yes" &&
          !isGuarded(protocol, port);
        const port = ALL_PORTS.find(leads);
        if (port === undefined) continue;
        findings.set(
          `${protocol}/${port}`,
          bad(
            ID,
            `${protocol}/${port} leads to ${protocol}/${to}, which is guarded, ` +
              `and is not guarded itself: rule "${text}" in chain ${name} of ` +
              `table ${table}`,
            `services: { NAME: [${protocol}/${to}, ${protocol}/${port}] }`,
          ),
        );
      }
    }
  }
  return [...findings.values()];
}

const portsFrom = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => first + index);

const ALL_PORTS = portsFrom(1, 65_535);

/** The port of this machine that a rule leads to; null = it leads elsewhere, or nowhere. */
function redirectedTo(
  action: RuleAction,
  local: readonly string[],
): number | null {
  if (action.do === "redirect") return action.port;
  if (action.do !== "dnat") return null;
  const to = parseEndpoint(action.to);
  return to && local.includes(to.host) ? to.port : null;
}

/** First packets to these ports, of both families. */
export function probesOf(ports: readonly PortRange[]): Probe[] {
  return ports.flatMap(({ protocol, first, last }) =>
    portsFrom(first, Math.min(last - first + 1, MAX_PROBED)).flatMap((port) =>
      ([4, 6] as const).map((family) => ({ family, protocol, port }))
    )
  );
}
