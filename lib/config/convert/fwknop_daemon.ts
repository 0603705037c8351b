/** fwknopd.conf as the general part of our configuration. */

import { type Directive, isYes, settle } from "./fwknop_lines.ts";

/** The general part: lines of our YAML. */
export interface ConvertedDaemon {
  /** Entries of the list. */
  readonly listen: string;
  readonly maxSkewSeconds: number;
  readonly firewall: string;
}

// Defaults of fwknopd.
const DEFAULT_PORT = 62201;
const DEFAULT_AGE_SECONDS = 120;
/** The longest `max_skew` of ours. */
const MAX_AGE_SECONDS = 86400;

/** The backend that works as fwknopd does: a chain of its own before yours. */
const IPTABLES = "{ backend: iptables }";
const NFT = "{ backend: nft, mode: accept }";

/** Converts the lines of fwknopd.conf; none of them: its defaults. */
export function convertDaemon(
  directives: readonly Directive[],
  warnings: string[],
): ConvertedDaemon {
  const settings = settle(directives, warnings);
  const say = ({ where, keyword }: Directive, words: string) =>
    warnings.push(`${where}: ${keyword}: ${words}`);
  const number = (keyword: string, otherwise: number, most: number) => {
    const directive = settings.get(keyword);
    const value = Number(directive?.value ?? otherwise);
    if (Number.isInteger(value) && value >= 1 && value <= most) return value;
    say(directive!, `"${directive!.value}" is taken for ${otherwise}`);
    return otherwise;
  };

  const udp = isYes(settings.get("ENABLE_UDP_SERVER"));
  const filter = settings.get("PCAP_FILTER");
  const port = /^udp (?:dst )?port (\d{1,5})$/.exec(filter?.value ?? "")?.[1];
  if (filter && !port) {
    say(filter, `"${filter.value}" is not a UDP port alone: check "listen"`);
  }
  const exe = settings.get("FIREWALL_EXE");
  const firewalld = /firewall-cmd/.test(exe?.value ?? "");
  if (exe && firewalld) {
    say(exe, "firewalld has no chain of ours: `knock doctor` says what to add");
  } else if (exe && !/iptables$/.test(exe.value)) {
    say(exe, `there is no backend for "${exe.value}": iptables is put in`);
  }
  for (const directive of settings.values()) {
    const { keyword, value } = directive;
    if (CONVERTED.has(keyword)) continue;
    const no = /^n/i.test(value);
    if (no && keyword.startsWith("ENABLE_") && !ALWAYS_ON.has(keyword)) {
      continue;
    }
    if (!no && ALWAYS_ON.has(keyword)) continue;
    const note = NOTES.find(([keywords]) => keywords.test(keyword));
    say(directive, note?.[1] ?? "unknown, left out");
  }
  const own = udp || !port
    ? number("UDPSERV_PORT", DEFAULT_PORT, 65535)
    : Number(port);
  const tcp = isYes(settings.get("ENABLE_TCP_SERVER"));
  const http = settings.get("ENABLE_SPA_OVER_HTTP");
  const stream = tcp
    ? `, ${isYes(http) ? "http" : "tcp"}/${
      number("TCPSERV_PORT", DEFAULT_PORT, 65535)
    }`
    : "";
  if (!tcp && isYes(http)) {
    say(http!, `not converted: a port of its own, "http/8080", under "listen"`);
  }
  return {
    listen: `${own}${stream}`,
    maxSkewSeconds: number(
      "MAX_SPA_PACKET_AGE",
      DEFAULT_AGE_SECONDS,
      MAX_AGE_SECONDS,
    ),
    firewall: firewalld ? NFT : IPTABLES,
  };
}

const CONVERTED: ReadonlySet<string> = new Set([
  "ENABLE_UDP_SERVER",
  "UDPSERV_PORT",
  "PCAP_FILTER",
  "ENABLE_TCP_SERVER",
  "TCPSERV_PORT",
  "ENABLE_SPA_OVER_HTTP",
  "MAX_SPA_PACKET_AGE",
  "FIREWALL_EXE",
]);

/** What is always so here: only turning it off is to be told. */
const ALWAYS_ON: ReadonlySet<string> = new Set([
  "ENABLE_SPA_PACKET_AGING",
  "ENABLE_DIGEST_PERSISTENCE",
  "ENABLE_IPT_COMMENT_CHECK",
]);

const NOTES: readonly [keywords: RegExp, words: string][] = [
  [/^ENABLE_SPA_PACKET_AGING$/, "the age of packets is always checked here"],
  [/^ENABLE_DIGEST_PERSISTENCE$/, "replays are always refused here"],
  [
    /X_FORWARDED|USER_AGENT/,
    "not converted: where a request comes from is its packet's source",
  ],
  [
    /^(PCAP_|ENABLE_PCAP|MAX_SNIFF|EXIT_AT_INTF|UDPSERV_SELECT|ENABLE_NFQ|NFQ_)/,
    "no concern here: packets come in by a UDP socket",
  ],
  [/^(ACCESS_FILE|ACCESS_FOLDER)$/, "give that file to this command, too"],
  [
    /^(DIGEST_|FWKNOP_|LOCALE$)/,
    "no concern here: knock has files of its own",
  ],
  [/SYSLOG|^VERBOSE$/, 'not converted: see "log"'],
  [/^GPG_/, "not converted: each client names its keyring"],
  [/SUDO|CMD_EXEC/, "not converted: commands are run as the server's user"],
  [
    /SNAT|LOCAL_NAT|FORWARDING|NAT_DNS|DNAT|MASQUERADE/,
    'not converted: name what to forward to as a service with "to"',
  ],
  [
    /IPT_|FIREWD_|IPFW|PF_|RULE/,
    "no concern here: the backend keeps rules of its own",
  ],
];
