import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { parseConfig } from "../../lib/config/read.ts";
import { ConfigError } from "../../lib/values/errors.ts";

const KEYS = `{ key: ${"B".repeat(42)}A, psk: ${"C".repeat(42)}A }`;

function mistakesOf(text: string): string[] {
  try {
    parseConfig(text, {
      file: "server.yaml",
      readKey: () => new Uint8Array(32).fill(1),
      readCode: () => new Uint8Array(10),
      stateFolder: () => "/state",
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.lines.map((line) => line.replace("server.yaml: ", ""));
  }
  return [];
}

const ALL = "{client}, {address}, {family}, {protocol}, {port}, {ports}, " +
  "{seconds}, {until}";
const LONG = "A".repeat(29);

const cases: [name: string, text: string, wants: string[]][] = [
  [
    "forwards with iptables",
    `firewall: { backend: iptables }
services: { nas: { listen: tcp/8443, to: "10.0.0.5:443" } }`,
    [
      `services.nas.to: must be absent with the iptables backend, got "10.0.0.5:443"`,
    ],
  ],
  [
    "single use with a command",
    `firewall: { backend: command, open: [fw, "{address}"], close: [fw] }
clients: { alice: { knock: ${KEYS}, once: true } }`,
    [
      `clients.alice.once: must be false with the command backend, got "true"`,
    ],
  ],
  [
    "a chain of iptables' own",
    `firewall: { backend: iptables, mode: accept, chain: INPUT }`,
    [
      `firewall.chain: must be the name of a chain of its own, at most 28 ` +
      `characters, with the iptables backend, got "INPUT"`,
    ],
  ],
  [
    "a chain that would be an option, or too long",
    `firewall: { backend: iptables, mode: accept, chain: ${LONG} }`,
    [
      `firewall.chain: must be the name of a chain of its own, at most 28 ` +
      `characters, with the iptables backend, got "${LONG}"`,
    ],
  ],
  [
    "a good chain",
    `firewall: { backend: iptables, mode: accept, chain: DOOR }`,
    [],
  ],
  [
    "unknown placeholders",
    `hooks: { open: [notify, "{adress}", "a{client}b", "{}"] }`,
    [
      `hooks.open: must have none but the placeholders ${ALL}, got "{adress}"`,
    ],
  ],
  [
    "a program by placeholder",
    `firewall: { backend: command, open: ["{client}"], close: [fw] }`,
    [
      `firewall.open: must name the program itself first, got "{client}" in it`,
    ],
  ],
  [
    "placeholders of a command, but not other braces",
    `commands: { a: [find, "{}", "{Name}"], b: [echo, "{client}"] }`,
    [`commands.b: must have no placeholders, got "{client}"`],
  ],
];

for (const [name, text, wants] of cases) {
  test(`parseConfig() on ${name}: ${wants.length} mistakes`, () => {
    assertEquals(mistakesOf(text), wants);
  });
}
