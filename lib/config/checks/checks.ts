/**
 * Checks of a configuration's parts against each other, and against what the
 * chosen firewall can do.
 * @module
 */

import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import {
  DEFAULT_CHAIN,
  parseHostChain,
} from "../../firewall/nft/rules/sets.ts";
import {
  knownPlaceholders,
  PLACEHOLDERS,
  unknownPlaceholders,
} from "../../firewall/command/programs.ts";
import { formatEndpoint, isIpv4 } from "../../values/address.ts";
import {
  formatPortRange,
  onePort,
  overlapPorts,
  portHint,
  type PortRange,
} from "../../values/ports.ts";
import { at, type Mistake, show } from "../../values/schema.ts";
import { nearest } from "../../values/text.ts";
import type {
  Client,
  Config,
  Listen,
  ListenEntry,
  Service,
} from "../config.ts";
import type { ServerYaml } from "../shape.ts";

/** Checks that no two sockets want the same address and port. */
export function checkListen({ listen }: ServerYaml, mistakes: Mistake[]): void {
  for (const [index, entry] of listen.entries()) {
    const other = listen.slice(0, index).find((earlier) =>
      isDatagram(earlier) === isDatagram(entry) &&
      (collide(earlier, entry) || collide(entry, earlier))
    );
    if (!other) continue;
    mistakes.push({
      path: at("listen", index),
      text:
        `must be free of the other entries, got "${formatEndpoint(entry)}"` +
        ` beside "${formatEndpoint(other)}"`,
    });
  }
}

/** Word in `open` for the ports of every service. */
export const ALL = "all";

/**
 * Reads `open`, of a client or a sequence: names of services become their
 * ports, `all` those of every service. `serviceNames` are all names, those of services with mistakes too.
 */
export function readOpen(
  path: string,
  { open }: { readonly open: readonly (string | PortRange)[] },
  { services, serviceNames }: {
    readonly services: readonly Service[];
    readonly serviceNames: readonly string[];
  },
  mistakes: Mistake[],
): PortRange[] {
  const found = new Map<string, PortRange>();
  for (const [index, entry] of open.entries()) {
    const isAll = entry === ALL;
    if (typeof entry === "string" && !isAll && !serviceNames.includes(entry)) {
      mistakes.push({
        path: open.length > 1 ? at(`${path}.open`, index) : `${path}.open`,
        text: `must be the name of a service, all, tcp/PORT or udp/PORT, ` +
          `got ${show(entry)}`,
        hint: portHint(entry) ?? nearest(entry, serviceNames),
      });
    }
    const ranges = typeof entry === "string"
      ? services.filter(({ name }) => isAll || name === entry)
        .flatMap(({ ports }) => ports)
      : [entry];
    for (const range of ranges) found.set(formatPortRange(range), range);
  }
  return [...found.values()];
}

/** Checks the services against the knock port, each other and the backend. */
export function checkServices(yaml: ServerYaml, mistakes: Mistake[]): void {
  const gate = yaml.firewall.backend === "gate";
  const seen: { name: string; range: PortRange; to: boolean }[] = [];
  for (const [name, service] of yaml.services) {
    const path = at("services", name);
    if (name === ALL) {
      mistakes.push({
        path,
        text: `must have another name, as "open: ${ALL}" means every service`,
      });
    }
    const { listen, to } = "listen" in service
      ? service
      : { listen: service, to: null };
    // Ports of another host are not this machine's: checkBehind().
    if ("listen" in service && service.at) continue;
    for (const range of listen) {
      const shown = formatPortRange(range);
      const say = (text: string, hint?: string) =>
        mistakes.push({ path, text, hint });
      const knock = yaml.listen.find((entry) => {
        const protocol = isDatagram(entry) ? "udp" : "tcp";
        const { port } = entry;
        return overlapPorts(range, onePort(protocol, port));
      });
      if (knock) {
        say(`must not be the port that knocks come to, got "${shown}"`);
      }
      if (gate && range.protocol !== "tcp") {
        say(`must be tcp/PORT with the gate backend, got "${shown}"`);
      }
      if (to && isOwn(to.host) && contains(range, to.port)) {
        say(
          `must not lead to itself, got "${shown}" to "${formatEndpoint(to)}"`,
          "listen on another port than the service's own",
        );
      }
      // Who forwards or proxies a port owns it; guarded ones may be named twice.
      const other = seen.find((earlier) =>
        overlapPorts(earlier.range, range) && (earlier.to || to)
      );
      if (other) {
        say(`must be a port of its own, got "${shown}" as in "${other.name}"`);
      }
      seen.push({ name, range, to: to !== null });
    }
    if (gate && to === null) {
      mistakes.push({
        path,
        text: `must say where connections go with the gate backend, ` +
          `got "${listen.map(formatPortRange).join(", ")}"`,
        hint: `${name}: { listen: tcp/2222, to: "127.0.0.1:22" }`,
      });
    }
  }
}

/** True for a UDP port, with a socket or without. */
function isDatagram({ transport }: ListenEntry): boolean {
  return transport === undefined || transport === "sniff";
}

function collide(wide: Listen, narrow: Listen): boolean {
  return wide.port === narrow.port && (
    wide.host === narrow.host || wide.host === "::" ||
    (wide.host === "0.0.0.0" && isIpv4(narrow.host))
  );
}

function isOwn(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.") ||
    host === "0.0.0.0" || host === "::";
}

function contains(range: PortRange, port: number): boolean {
  return range.protocol === "tcp" && range.first <= port && port <= range.last;
}

/** Longest name of a chain in iptables, characters. */
const MAX_CHAIN = 28;

/** Names that iptables takes for something else than a chain of ours. */
const NO_CHAINS =
  /^(INPUT|OUTPUT|FORWARD|ACCEPT|DROP|RETURN|QUEUE|REJECT|LOG)$/;

/** Checks what only some backends can do: forwards, single use, a chain by name. */
export function checkBackend(yaml: ServerYaml, mistakes: Mistake[]): void {
  const { backend, chain } = yaml.firewall;
  for (const [name, { once, network }] of yaml.clients) {
    if (!once || network === null) continue;
    mistakes.push({
      path: at("clients", `${name}.network`),
      text: "must be absent with once, as a single use is for one address",
    });
  }
  for (const [name, service] of yaml.services) {
    if (!("listen" in service) || !service.cut) continue;
    if (backend === "nft" || backend === "iptables") continue;
    mistakes.push({
      path: at("services", `${name}.cut`),
      text: `must be false with the ${backend} backend, got "true"`,
      hint: "nft and iptables can",
    });
  }
  if (backend !== "iptables" && backend !== "command") return;
  const cure = "nft and gate can";
  for (const [name, service] of yaml.services) {
    if (!("listen" in service) || service.to === null) continue;
    mistakes.push({
      path: at("services", `${name}.to`),
      text: `must be absent with the ${backend} backend, got "${
        formatEndpoint(service.to)
      }"`,
      hint: cure,
    });
  }
  for (const [name, { once }] of yaml.clients) {
    if (!once) continue;
    mistakes.push({
      path: at("clients", `${name}.once`),
      text: `must be false with the ${backend} backend, got "true"`,
      hint: cure,
    });
  }
  if (backend !== "iptables" || chain === null) return;
  const fits = /^[A-Za-z0-9][\w-]*$/.test(chain) && chain.length <= MAX_CHAIN;
  if (fits && !NO_CHAINS.test(chain)) return;
  mistakes.push({
    path: "firewall.chain",
    text: `must be the name of a chain of its own, at most ${MAX_CHAIN} ` +
      `characters, with the iptables backend, got ${show(chain)}`,
  });
}

/** Checks that every placeholder of the programs is one that is filled in. */
export function checkPrograms(
  { firewall, hooks, commands }: ServerYaml,
  mistakes: Mistake[],
): void {
  const programs: [path: string, argv: readonly string[] | null][] = [
    ["firewall.open", firewall.open],
    ["firewall.close", firewall.close],
    ["hooks.open", hooks.open],
    ["hooks.close", hooks.close],
  ];
  const known = PLACEHOLDERS.map((name) => `{${name}}`);
  for (const [path, argv] of programs) {
    for (const wrong of unknownPlaceholders(argv ?? [])) {
      mistakes.push({
        path,
        text: known.includes(wrong)
          ? `must name the program itself first, got ${show(wrong)} in it`
          : `must have none but the placeholders ${known.join(", ")}, ` +
            `got ${show(wrong)}`,
        hint: known.includes(wrong) ? undefined : nearest(wrong, known),
      });
    }
  }
  for (const [name, argv] of commands) {
    for (const placeholder of knownPlaceholders(argv)) {
      mistakes.push({
        path: at("commands", name),
        text: `must have no placeholders, got ${show(placeholder)}`,
        hint: "a command finds KNOCK_CLIENT and KNOCK_ADDRESS in its " +
          "environment",
      });
    }
  }
}

/** Reads it, and notes what does not go together. */
export function readFirewall(
  { firewall }: ServerYaml,
  mistakes: Mistake[],
): Config["firewall"] {
  const { backend, mode, chain, prefilter, refuse, open, close } = firewall;
  const interfaces: readonly string[] = firewall.interfaces;
  const wrong = (key: string, text: string, hint?: string) =>
    mistakes.push({ path: `firewall.${key}`, text, hint });
  if (backend === "command") {
    const argv = `[PROGRAM, "{address}", "{protocol}", "{port}"]`;
    const missing = "is missing with the command backend";
    if (!open) wrong("open", missing, `open: ${argv}`);
    if (!close) wrong("close", missing, `close: ${argv}`);
  } else {
    if (open) wrong("open", "is for the command backend");
    if (close) wrong("close", "is for the command backend");
  }
  if (mode === "accept" && backend !== "nft" && backend !== "iptables") {
    wrong("mode", `must be guard with the ${backend} backend, got "accept"`);
  }
  if (chain !== null && mode !== "accept") {
    wrong("chain", "is for mode accept", "firewall: { mode: accept, … }");
  }
  if (
    chain !== null && mode === "accept" && backend === "nft" &&
    parseHostChain(chain) === null
  ) {
    wrong(
      "chain",
      `must be FAMILY TABLE CHAIN with inet, ip or ip6, got ${show(chain)}`,
      `chain: ${DEFAULT_CHAIN}`,
    );
  }
  if (refuse === "reject" && prefilter === "xdp") {
    wrong("prefilter", `must not be xdp with refuse: reject, got "xdp"`, "nft");
  }
  if (refuse === "reject" && (backend !== "nft" || mode !== "guard")) {
    wrong(
      "refuse",
      `must be drop ${
        backend === "nft" ? `in mode ${mode}` : `with the ${backend} backend`
      }, got "reject"`,
      "nft in mode guard can",
    );
  }
  if (interfaces.length > 0) {
    const isGuard = mode === "guard" &&
      (backend === "nft" || backend === "iptables");
    const got = `got ${show(interfaces.join(", "))}`;
    if (!isGuard) {
      wrong("interfaces", `is for mode guard of nft and iptables, ${got}`);
    } else if (interfaces.includes("lo")) {
      wrong(
        "interfaces",
        `must be interfaces that strangers come in by, ${got}`,
        "take lo out: the loopback is never guarded",
      );
    }
  }
  if (backend !== "nft" && (prefilter === "nft" || prefilter === "xdp")) {
    const got = `got ${show(prefilter)} with the ${backend} backend`;
    wrong("prefilter", `is for the nft backend, ${got}`);
  }
  const commands = open && close ? { open, close } : null;
  return { backend, mode, chain, interfaces, prefilter, refuse, commands };
}

/** Checks that no two clients share a key that identifies them. */
export function checkKeys(
  clients: readonly Client[],
  mistakes: Mistake[],
): void {
  for (const name of DIALECT_NAMES) {
    for (const { key, wanted, of } of DIALECTS[name].client.marks) {
      const owners = new Map<string, string>();
      for (const client of clients) {
        const mark = client[name] && of(client[name])?.toHex();
        if (!mark) continue;
        const owner = owners.get(mark);
        if (owner === undefined) owners.set(mark, client.name);
        else {
          mistakes.push({
            path: at("clients", `${client.name}.${name}.${key}`),
            text: `must be ${wanted} of its own, got the same as client ` +
              `"${owner}"`,
          });
        }
      }
    }
  }
}
