import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { parseConfig } from "../../lib/config/read.ts";
import { parseIptablesSave } from "../../lib/firewall/host/iptables_save.ts";
import { hostFacts } from "../../lib/server/grants/host.ts";

const HOST = {
  chains: parseIptablesSave(
    "*filter\n:INPUT DROP\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n",
    4,
  ),
  tables: [],
  local: ["192.0.2.1"],
};

const KEY = new Uint8Array(32).fill(7).toBase64();
const CLIENT =
  `clients: { a: { fwknop: { key_base64: "${KEY}", hmac: none }, open: [tcp/22] } }`;

const rows: [name: string, config: string, want: string[]][] = [
  [
    "a client, by UDP and TCP",
    `listen: [62201, tcp/62202]\n${CLIENT}`,
    ["knock udp/62201", "knock tcp/62202"],
  ],
  [
    "sequences alone, which tcpdump hears",
    "sequences: { d: { knock: [tcp/7000], open: [tcp/22], watch: sniff } }",
    [],
  ],
  [
    "sequences alone, on sockets",
    "sequences: { d: { knock: [udp/7000, udp/7001], open: [tcp/22], watch: socket } }",
    ["knock udp/7000", "knock udp/7001"],
  ],
  ["nobody yet", "", ["knock udp/62201"]],
];

for (const [name, config, want] of rows) {
  test(`hostFacts() on a host that drops: ${name}`, () => {
    const parsed = parseConfig(
      `firewall: { backend: iptables, mode: accept }\n${config}`,
      {
        file: "server.yaml",
        readKey: () => new Uint8Array(32).fill(1),
        readCode: () => new Uint8Array(10),
        stateFolder: () => "/state",
      },
    );
    assertEquals(
      hostFacts(HOST, parsed).map(({ what, ports }) => `${what} ${ports}`),
      want,
    );
  });
}

const jumps: [name: string, rules: string, want: string[]][] = [
  ["no chain of ours", "", []],
  ["a chain that nothing jumps to", ":KNOCK - [0:0]\n", []],
  [
    "a jump that comes too late",
    ":KNOCK - [0:0]\n-A INPUT -j DROP\n-A INPUT -j KNOCK\n",
    ["service tcp/22"],
  ],
];
for (const [name, rules, want] of jumps) {
  test(`hostFacts() of iptables in mode accept: ${name}`, () => {
    const text = `*filter\n:INPUT DROP\n${rules}COMMIT\n`;
    const host = { ...HOST, chains: parseIptablesSave(text, 4) };
    const config = parseConfig(
      "firewall: { backend: iptables, mode: accept }\n" +
        "services: { ssh: tcp/22 }\n" +
        "sequences: { d: { knock: [tcp/7000], run: [x], watch: sniff } }",
      {
        file: "server.yaml",
        readKey: () => new Uint8Array(32).fill(1),
        readCode: () => new Uint8Array(10),
        stateFolder: () => "/state",
      },
    );
    assertEquals(
      hostFacts(host, config).map(({ what, ports }) => `${what} ${ports}`),
      want,
    );
  });
}
