/**
 * Other filters of this host: rules that would drop knocks, or what they open,
 * or let everybody past ours.
 */

import { type Config, doorwaysOf } from "../../../config/config.ts";
import {
  type Fate,
  fatesIn,
  type FilterChain,
  hooked,
  type HostRules,
  type Own,
  OWN_TABLE,
  type Probe,
} from "../../../firewall/host/flow.ts";
import { ownOf } from "../../../firewall/host/granted.ts";
import { ELSEWHERE } from "../../../firewall/host/nft_json.ts";
import { isIpv4 } from "../../../values/address.ts";
import type { PortRange } from "../../../values/ports.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";

/** Most ports of a range that are looked at. */
const MAX_PROBED = 16;

/** Judges the rest of the packet filter by what this configuration needs. */
export function checkFirewall(
  config: Config,
  ruleset: HostRules | null,
  running: boolean,
): Finding[] {
  if (!ruleset) {
    return [
      unknown(
        "filter_readable",
        "the packet filter of this machine cannot be looked at",
        "run it as root, with the program nft installed",
      ),
    ];
  }
  const { firewall, services } = config;
  const findings: Finding[] = [];
  if (firewall.backend === "nft" && firewall.mode === "guard") {
    findings.push(...checkOwnTable(ruleset, services.length > 0, running));
  }
  const chains = ruleset.chains.filter(({ table }) => table !== OWN_TABLE);
  const knock = doorwaysOf(config).flatMap(({ host, port, protocol }) =>
    familiesOf(host).map((family): Probe => ({ family, protocol, port }))
  );
  const own = ownOf(firewall) ?? { chain: null, accepts: false };
  findings.push(...checkOthers("filter_knocks", chains, knock, own));
  const guarded = services.filter(({ to }) =>
    to === null || firewall.backend === "gate"
  ).flatMap(({ ports }) => ports);
  if (firewall.mode === "guard") {
    findings.push(
      ...checkOthers("filter_services", chains, probesOf(guarded), own),
    );
  }
  if (firewall.backend !== "gate") {
    findings.push(...checkBypass(chains, guarded));
  }
  return findings;
}

function checkOwnTable(
  { tables }: HostRules,
  guards: boolean,
  running: boolean,
): Finding[] {
  if (tables.includes(OWN_TABLE)) {
    return [ok("filter_table", `table ${OWN_TABLE} is in place`)];
  }
  if (running) {
    return [
      bad(
        "filter_table",
        `table ${OWN_TABLE} is gone while the server runs`,
        "it is put back within 10 s; find out who flushes the ruleset",
      ),
    ];
  }
  return guards
    ? [
      warn(
        "filter_table",
        "nothing is guarded before the server's first start",
        "knock rules prints the ruleset to be loaded at boot",
      ),
    ]
    : [];
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
  return [
    ok(
      id,
      bases.length === 0
        ? `no other packet filter stands before ${what} ${list}`
        : `the other packet filters let ${what} ${list}, through`,
    ),
  ];
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

/** The words of whoever keeps these rules. */
function cureFor(table: string, protocol: string, port: number): string {
  if (table === "inet firewalld") {
    return `firewall-cmd --permanent --add-port=${port}/${protocol} && firewall-cmd --reload`;
  }
  const nft = /^inet /.test(table)
    ? `nft insert rule ${table} input ${protocol} dport ${port} accept`
    : `iptables -I INPUT -p ${protocol} --dport ${port} -j ACCEPT (and ip6tables)`;
  return `with ufw: ufw allow ${port}/${protocol}; else: ${nft}`;
}

/** Ports that are passed on before any input chain: containers'. */
function checkBypass(
  chains: readonly FilterChain[],
  guarded: readonly PortRange[],
): Finding[] {
  const findings = new Map<string, Finding>();
  for (const base of hooked(chains, "nat", "prerouting")) {
    for (const probe of probesOf(guarded)) {
      const [to] = [...fatesIn(base, chains, probe).keys()].filter((fate) =>
        fate.startsWith("dnat ") && fate !== `dnat ${ELSEWHERE}`
      );
      if (to === undefined) continue;
      const port = `${probe.protocol}/${probe.port}`;
      const target = to.slice("dnat ".length);
      findings.set(
        port,
        bad(
          "filter_bypass",
          `${port} is passed on to ${target} before the guard sees it, as Docker ` +
            "and Podman do with published ports: it is open to everybody",
          `publish it as 127.0.0.1:${probe.port}:…, and let knock pass it on: ` +
            `services: { NAME: { listen: ${port}, to: "${target}" } }`,
        ),
      );
    }
  }
  return [...findings.values()];
}

function probesOf(ports: readonly PortRange[]): Probe[] {
  return ports.flatMap((range) => {
    const { protocol, first, last } = range;
    const all = Array.from(
      { length: Math.min(last - first + 1, MAX_PROBED) },
      (_, index) => first + index,
    );
    return all.flatMap((port) =>
      ([4, 6] as const).map((family) => ({ family, protocol, port }))
    );
  });
}

function familiesOf(host: string): readonly (4 | 6)[] {
  if (host === "::") return [4, 6];
  return isIpv4(host) ? [4] : [6];
}
