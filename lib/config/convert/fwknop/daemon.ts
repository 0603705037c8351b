/** fwknopd.conf as the general part of our configuration. */

import {
  type Directive,
  isYes,
  keywords,
  leadingNumber,
  type Notes,
  Settings,
  settle,
} from "./lines.ts";

const DEFAULT_PORT = 62201;

/** Where fwknopd's rules go by default, without blanks. */
const INPUT_ACCESS = /^ACCEPT,filter,INPUT,1,\w+,\d+$/;

/** Converts the lines of fwknopd.conf; none of them: its defaults. */
export function convertDaemon(
  directives: readonly Directive[],
  warnings: string[],
) {
  const settings = new Settings(settle(directives, warnings), warnings, "");
  const number = (keyword: string, otherwise: number, most: number) => {
    const directive = settings.get(keyword);
    const value = directive ? leadingNumber(directive.value) : otherwise;
    if (value >= 1 && value <= most) return value;
    const taken = value > most && keyword === AGE ? most : otherwise;
    settings.warn(directive, `"${directive!.value}" is taken for ${taken}`);
    return taken;
  };
  settings.nameTheRest(CONVERTED, NOTES, isIdle);

  const exe = settings.get("FIREWALL_EXE");
  const firewalld = /firewall-cmd/.test(exe?.value ?? "");
  if (exe && firewalld) {
    settings.warn(
      exe,
      "firewalld has no chain of ours: `knock doctor` says what to add",
    );
  } else if (exe && !/(^|\/)iptables$/.test(exe.value)) {
    settings.warn(
      exe,
      `there is no backend for "${exe.value}": iptables is put in`,
    );
  }

  const udp = isYes(settings.get("ENABLE_UDP_SERVER"));
  const filter = udp ? undefined : settings.get("PCAP_FILTER");
  const filtered = /^udp (?:dst )?port (\d{1,5})$/.exec(filter?.value ?? "");
  const sniffed = Number(filtered?.[1] ?? DEFAULT_PORT);
  const fits = sniffed >= 1 && sniffed <= 65535;
  if (filter && (!filtered || !fits)) {
    const words = `"${filter.value}" is not a UDP port alone: check "listen"`;
    settings.warn(filter, words);
  }
  const own = udp
    ? number("UDPSERV_PORT", DEFAULT_PORT, 65535)
    : fits
    ? sniffed
    : DEFAULT_PORT;
  if (!udp) {
    settings.note(
      "UDPSERV_PORT",
      "without ENABLE_UDP_SERVER Y nothing listens there",
    );
    settings.note(
      "PCAP_INTF",
      "not converted: packets are taken from every interface",
    );
  }
  const tcp = isYes(settings.get("ENABLE_TCP_SERVER"));
  const http = settings.get("ENABLE_SPA_OVER_HTTP");
  const kind = isYes(http) ? "http" : "tcp";
  const stream = tcp
    ? [`"${kind}/${IPV4}:${number("TCPSERV_PORT", DEFAULT_PORT, 65535)}"`]
    : [];
  if (!tcp && isYes(http)) {
    const words =
      `not converted: a port of its own, "http/8080", under "listen"`;
    settings.warn(http, words);
  }
  return {
    // Entries of the list. Sniffed as before: the host's own rules need not let it through.
    listen: [`"${udp ? "" : "sniff/"}${IPV4}:${own}"`, ...stream].join(", "),
    // The longest of ours is a day.
    maxSkewSeconds: number(AGE, 120, 86400),
    backend: firewalld ? "nft" : "iptables",
    /** The keyring of stanzas that name none; null = fwknopd's default. */
    gpgHome: settings.get("GPG_HOME_DIR")?.value ?? null,
  };
}

/** Every address of the machine, of the one family that fwknopd knows. */
const IPV4 = "0.0.0.0";

const AGE = "MAX_SPA_PACKET_AGE";

const CONVERTED = keywords(`
  ENABLE_UDP_SERVER UDPSERV_PORT PCAP_FILTER PCAP_INTF ENABLE_TCP_SERVER
  TCPSERV_PORT ENABLE_SPA_OVER_HTTP ${AGE} FIREWALL_EXE GPG_HOME_DIR`);

/** Features that are always on here: only turning one off is reported. */
const ALWAYS_ON = keywords(`
  ENABLE_SPA_PACKET_AGING ENABLE_DIGEST_PERSISTENCE ENABLE_IPT_COMMENT_CHECK
  ENABLE_FIREWD_COMMENT_CHECK`);

/** True for a line that asks for what is so here, or for nothing. */
function isIdle(directive: Directive): boolean {
  const { keyword, value } = directive;
  if (keyword === "IPT_INPUT_ACCESS") {
    return INPUT_ACCESS.test(value.replaceAll(" ", ""));
  }
  return ALWAYS_ON.has(keyword)
    ? isYes(directive)
    : keyword.startsWith("ENABLE_") && !isYes(directive);
}

const NOTES: Notes = [
  [/^ENABLE_SPA_PACKET_AGING$/, "the age of packets is always checked here"],
  [/^ENABLE_DIGEST_PERSISTENCE$/, "replays are always refused here"],
  [
    /X_FORWARDED|USER_AGENT/,
    "not converted: where a request comes from is its packet's source",
  ],
  [
    /^(PCAP_|ENABLE_PCAP|MAX_SNIFF|EXIT_AT_INTF|UDPSERV_SELECT|ENABLE_NFQ|NFQ_)/,
    "no concern here: there is nothing to set for the capture",
  ],
  [/^(ACCESS_FILE|ACCESS_FOLDER)$/, "give that file to this command, too"],
  [
    /^(DIGEST_|FWKNOP_|LOCALE$)/,
    "no concern here: knock has files of its own",
  ],
  [/SYSLOG|^VERBOSE$/, 'not converted: see "log"'],
  [/^GPG_/, "not converted: gpg is found by PATH"],
  [/SUDO|CMD_EXEC/, "not converted: commands are run as the server's user"],
  [
    /^ENABLE_DESTINATION_RULE$/,
    "not converted: a grant is for every address of the machine",
  ],
  [
    /^ENABLE_(IPT|FIREWD)_OUTPUT$/,
    "not converted: let answers out by the host's own rules",
  ],
  [
    /^FLUSH_(IPT|FIREWD)_AT_/,
    "not converted: grants outlive the server, and end in the kernel",
  ],
  [
    /^RULES_CHECK_THRESHOLD$/,
    "not converted: rules of other programs are not taken away here",
  ],
  [
    /^(IPT|FIREWD)_INPUT_ACCESS$/,
    "not converted: grants are ACCEPT rules in a chain KNOCK, which INPUT " +
    "leads to first",
  ],
  [
    /SNAT|LOCAL_NAT|FORWARDING|NAT_DNS|DNAT|MASQUERADE/,
    'not converted: name what to forward to as a service with "to", with ' +
    "backend nft",
  ],
  [
    /IPT_|FIREWD_|IPFW|PF_|RULE/,
    "no concern here: the backend keeps rules of its own",
  ],
];

/** Keywords of fwknopd.conf, so that it is recognised without its semicolons. */
export const DAEMON_KEYWORD =
  /^\s*(PCAP_|ENABLE_|EXIT_AT_INTF|MAX_S|RULES_CHECK|CMD_EXEC_TIMEOUT|ALLOW_ANY|TCPSERV_|UDPSERV_|NFQ_|LOCALE|SYSLOG_|SNAT_|FLUSH_|IPT_|FIREWD_|IPFW_|PF_|FWKNOP_|ACCESS_F|DIGEST_(DB_)?FILE|GPG_(HOME_DIR|EXE)|SUDO_EXE|FIREWALL_EXE|VERBOSE|FAULT_INJ)\w*:?\s+\S/m;
