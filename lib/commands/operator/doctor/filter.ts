/**
 * Other filters of this host: rules that would drop knocks, or what they open,
 * or let everybody past ours.
 */

import { checkBypass, checkDetours, MAX_PROBED, probesOf } from "./bypass.ts";
import { type Config, knockSocketsOf } from "../../../config/config.ts";
import {
  type Fate,
  fatesIn,
  hooked,
  judgePassing,
} from "../../../firewall/host/flow.ts";
import type {
  FilterChain,
  HostRules,
  Own,
  Probe,
} from "../../../firewall/host/model.ts";
import { findBlocked, ownOf } from "../../../firewall/host/granted.ts";
import { TABLE } from "../../../firewall/nft/rules/sets.ts";
import {
  proposeInterfaces,
  sortInterfaces,
} from "../../../firewall/host/interfaces.ts";
import { isIpv4, parseAddress } from "../../../values/address.ts";
import { formatPortRange } from "../../../values/ports.ts";
import { bad, type Finding, findingsOf, ok, unknown, warn } from "./finding.ts";

/** Judges the rest of the packet filter by what this configuration needs. */
export function checkFirewall(
  config: Config,
  ruleset: HostRules | null,
  running: boolean,
  interfaces: readonly string[] | null = null,
): Finding[] {
  if (!ruleset) {
    return [unknown(
      "filter_readable",
      "the packet filter of this machine cannot be looked at",
      "run it as root, with the program nft installed",
    )];
  }
  const { firewall, services } = config;
  const { backend } = firewall;
  const isGuard = firewall.mode === "guard";
  const chains = ruleset.chains.filter(({ table }) => table !== TABLE);
  const knock = knockSocketsOf(config).flatMap(({ host, port, protocol }) =>
    ([4, 6] as const)
      .filter((family) => host === "::" || isIpv4(host) === (family === 4))
      .map((family): Probe => ({ family, protocol, port }))
  );
  const own = ownOf(firewall) ?? { chain: null, accepts: false };
  const guarded = services.filter(({ to, at }) =>
    !at && to === null || backend === "gate"
  ).flatMap(({ ports }) => ports);
  const isGuarded = isGuard && (backend === "nft" || backend === "iptables");
  return [
    ...findingsOf(
      backend === "nft" && isGuard &&
        checkOwnTable(ruleset, services.length > 0, running),
    ),
    ...checkOthers("filter_knocks", chains, knock, own),
    ...isGuard
      ? checkOthers("filter_services", chains, probesOf(guarded), own)
      : [],
    ...backend === "gate" ? [] : checkBypass(chains, guarded, isGuarded),
    ...isGuarded ? checkDetours({ ...ruleset, chains }, guarded) : [],
    ...checkInterfaces(config, interfaces),
    ...checkRefuse(config, ruleset),
    ...checkBehind(config, ruleset),
  ];
}

function checkOwnTable(
  { tables }: HostRules,
  guards: boolean,
  running: boolean,
): Finding | false {
  const id = "filter_table";
  if (tables.includes(TABLE)) return ok(id, `table ${TABLE} is in place`);
  if (running) {
    return bad(
      id,
      `table ${TABLE} is gone while the server runs`,
      "it is put back within 10 s; find out who flushes the ruleset",
    );
  }
  return guards && warn(
    id,
    "nothing is guarded before the server's first start",
    "knock rules prints the ruleset to be loaded at boot",
  );
}

/** Packets that others may drop, in words. */
const SUBJECTS = {
  filter_knocks: "knocks to",
  filter_services: "what is opened,",
} as const;

/** Checks that others let the packets through that we need. */
function checkOthers(
  id: keyof typeof SUBJECTS,
  chains: readonly FilterChain[],
  probes: readonly Probe[],
  own: Own,
): Finding[] {
  const what = SUBJECTS[id];
  const bases = hooked(chains, "filter", "prerouting", "input");
  const findings = new Map<string, Finding>();
  for (const base of bases) {
    for (const probe of probes) {
      const fates = fatesIn(base, chains, probe, own);
      const finding = tell(id, base, probe, fates);
      if (finding) findings.set(finding.text, finding);
    }
  }
  if (findings.size > 0 || probes.length === 0) return [...findings.values()];
  const ports = new Set(
    probes.map(({ protocol, port }) => `${protocol}/${port}`),
  );
  const list = [...ports].slice(0, MAX_PROBED).join(", ");
  return [ok(
    id,
    bases.length === 0
      ? `no other packet filter stands before ${what} ${list}`
      : `the other packet filters let through ${what} ${list}`,
  )];
}

function tell(
  id: keyof typeof SUBJECTS,
  { table, name }: FilterChain,
  { family, protocol, port }: Probe,
  fates: ReadonlyMap<Fate, unknown>,
): Finding | null {
  const where = `chain ${name} of table ${table}`;
  const subject = `${SUBJECTS[id]} ${protocol}/${port} by IPv${family}`;
  const cure = cureFor(table, protocol, port ?? 0);
  if (fates.has("drop")) {
    return fates.size === 1 ? bad(id, `${where} drops ${subject}`, cure) : warn(
      id,
      `${where} drops ${subject} from some sources or interfaces`,
      cure,
    );
  }
  return fates.has("unknown")
    ? unknown(id, `${where}: what it does with ${subject} is not known`)
    : null;
}

/** Words about the tool that keeps these rules. */
function cureFor(table: string, protocol: string, port: number): string {
  if (table === "inet firewalld") {
    return `firewall-cmd --permanent --add-port=${port}/${protocol} && firewall-cmd --reload`;
  }
  const nft = /^inet /.test(table)
    ? `nft insert rule ${table} input ${protocol} dport ${port} accept`
    : `iptables -I INPUT -p ${protocol} --dport ${port} -j ACCEPT (and ip6tables)`;
  return `with ufw: ufw allow ${port}/${protocol}; else: ${nft}`;
}

/** Checks the way of what is routed to hosts behind this machine; names are resolved by the server. */
function checkBehind(
  { firewall, services }: Pick<Config, "firewall" | "services">,
  rules: HostRules,
): Finding[] {
  const id = "service_behind";
  return services.flatMap(({ name, ports, at = [] }) =>
    at.flatMap((address) =>
      ports.map((range) => {
        const what = `${name} ${formatPortRange(range)} at ${address}`;
        if (parseAddress(address) !== address) {
          return ok(id, `${what}: resolved when the server starts`);
        }
        const family = isIpv4(address) ? 4 : 6;
        const wanted = { ports: range, to: null, at: address };
        const blocked = findBlocked(rules, wanted, { family }, firewall);
        return blocked
          ? bad(id, `${what}: ${blocked.by}`, blocked.hint)
          : ok(id, `${what}: routed, and the host's rules let it through`);
      })
    )
  );
}

/** Ports that a scanner is asked about: what answers there is nobody's service. */
const UNUSED = [1, 7, 4242];

/** Compares the answer of guarded ports with that of the host's other ports. */
function checkRefuse(
  { firewall, services }: Pick<Config, "firewall" | "services">,
  rules: HostRules,
): Finding[] {
  const { backend, mode, refuse } = firewall;
  if (backend !== "nft" || mode !== "guard" || services.length === 0) return [];
  const own = ownOf(firewall)!;
  const answers = new Set(UNUSED.map((port) => {
    const probe = { family: 4, protocol: "tcp", port } as const;
    const { passes, cause } = judgePassing(rules, probe, own);
    if (passes === "maybe") return null;
    const isDrop = passes === "no" && !/\breject\b/i.test(cause?.rule ?? "");
    return isDrop ? "drop" : "reject";
  }));
  const [others] = answers;
  if (answers.size > 1 || !others) return [];
  const id = "filter_refuse";
  if (others === refuse) {
    return [ok(
      id,
      others === "drop"
        ? "guarded ports are silent, as this host's other ports"
        : "guarded ports answer as this host's other closed ports",
    )];
  }
  const cure = `firewall: { refuse: ${others} }`;
  const what = "a scanner can tell guarded ports: they";
  return [
    others === "reject"
      // The default, and nothing is wrong with it: a proposal.
      ? ok(
        id,
        `${what} are silent, and this host's other closed ports answer`,
        cure,
      )
      : warn(
        id,
        `${what} answer, and this host's other ports are silent`,
        cure,
      ),
  ];
}

/** Interfaces at which ports are guarded, and those at which they are not. */
function checkInterfaces(
  { firewall }: Pick<Config, "firewall">,
  names: readonly string[] | null,
): Finding[] {
  if (names === null) return [];
  const id = "filter_interfaces";
  const proposal = proposeInterfaces(names, firewall);
  if (proposal) return [warn(id, proposal.text, proposal.cure)];
  const { interfaces } = firewall;
  if (interfaces.length === 0) return [];
  const open = sortInterfaces(names).outer.filter((name) =>
    !interfaces.includes(name)
  );
  const missing = interfaces.filter((name) => !names.includes(name));
  return [
    open.length === 0
      ? ok(id, `ports are guarded at ${interfaces.join(", ")}`)
      : warn(
        id,
        `services are open to all that comes in by ${open.join(", ")}`,
        `firewall: { interfaces: [${[...interfaces, ...open].join(", ")}] }`,
      ),
    ...missing.map((name) =>
      warn(id, `there is no interface "${name}"`, "ip link shows their names")
    ),
  ];
}
