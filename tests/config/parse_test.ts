import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { parseConfig, readConfig } from "../../lib/config/read.ts";
import type { Surroundings } from "../../lib/config/clients.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { ConfigError } from "../../lib/values/errors.ts";

const KEY = new Uint8Array(32).fill(7);
const A = formatBase64url(new Uint8Array(32).fill(1));
const B = formatBase64url(new Uint8Array(32).fill(2));
const ZERO = "A".repeat(43);

const surroundings: Surroundings = {
  file: "server.yaml",
  readKey: () => KEY,
  readCode: () => new Uint8Array(10).fill(9),
  stateFolder: (written) => written ?? "/state",
};

function mistakesOf(text: string, more: Partial<Surroundings> = {}): string[] {
  try {
    parseConfig(text, { ...surroundings, ...more });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.lines.map((line) => line.replace("server.yaml: ", ""));
  }
  return [];
}

function hintOf(text: string): string | undefined {
  return assertThrows(() => parseConfig(text, surroundings), ConfigError).hint;
}

const FULL = `
listen: [62201, "192.0.2.1:62202", "[2001:db8::1]:62202"]
key: server.key
max_skew: 60s
reply: false
state: /somewhere
firewall: { backend: nft, mode: accept, chain: inet filter door }
services:
  ssh: tcp/22
  web: [tcp/80, tcp/443]
  more: { listen: udp/51820 }
  nas: { listen: tcp/8443, to: "10.0.0.5:443", masquerade: true, kill: true, cut: true }
commands: { restart: [systemctl, restart, x y] }
hooks: { open: [notify, "{client}"] }
defaults: { for: 1m, max_for: 2h }
log: { format: json, level: debug }
clients:
  alice:
    knock: { key: ${A}, psk: ${B} }
    open: [ssh, web, tcp/8000-8010, tcp/22]
    for: 1h
    max_for: 3h
    from: [192.0.2.0/24, 2001:db8::/32]
    require_address: true
    any_address: true
    expires: 2027-01-01T00:00:00Z
    hours: "mon-fri 08:00-18:00"
    code: code/alice.secret
    once: true
    run: restart
  "007":
    knock: { key: ${B}, psk: ${A} }
    max_for: 10
`;

test("parseConfig() reads every key", () => {
  const config = parseConfig(FULL, surroundings);
  const { clients, ...rest } = config;
  const plain = { to: null, masquerade: false, kill: false, cut: false };
  const port = (first: number, last = first, protocol = "tcp") => ({
    protocol,
    first,
    last,
  });
  assertEquals(rest as unknown, {
    file: "server.yaml",
    listen: [
      { host: "::", port: 62201 },
      { host: "192.0.2.1", port: 62202 },
      { host: "2001:db8::1", port: 62202 },
    ],
    sniffed: [],
    streams: [],
    key: KEY,
    openme: { file: "openme.key", key: null },
    openspa: { file: "openspa.pem", key: null, adkSecret: null },
    maxSkewMs: 60_000,
    reply: false,
    firewall: {
      backend: "nft",
      mode: "accept",
      chain: "inet filter door",
      interfaces: [],
      prefilter: "auto",
      refuse: "drop",
      commands: null,
    },
    services: [
      { name: "ssh", ports: [port(22)], ...plain },
      { name: "web", ports: [port(80), port(443)], ...plain },
      { name: "more", ports: [port(51820, 51820, "udp")], ...plain },
      {
        name: "nas",
        ports: [port(8443)],
        to: { host: "10.0.0.5", port: 443 },
        masquerade: true,
        kill: true,
        cut: true,
      },
    ],
    sequences: [],
    verify: null,
    warnings: [],
    commands: new Map([["restart", ["systemctl", "restart", "x y"]]]),
    hooks: { open: ["notify", "{client}"], close: null },
    log: { format: "json", level: "debug" },
    metrics: null,
    fleet: null,
    defaults: { forSeconds: 60, maxForSeconds: 7200 },
    state: "/somewhere",
  });
  const [alice, seven] = clients;
  assertEquals(alice!.open as unknown, [
    port(22),
    port(80),
    port(443),
    port(8000, 8010),
  ]);
  assertEquals(alice!.knock!.key, new Uint8Array(32).fill(1));
  assertEquals(alice!.forSeconds, 3600);
  assertEquals(alice!.maxForSeconds, 3 * 3600);
  assertEquals(alice!.from!.length, 2);
  assertEquals(alice!.requireAddress && alice!.anyAddress, true);
  assertEquals(alice!.expiresMs, Date.UTC(2027, 0, 1));
  assertEquals(alice!.hours!.text, "mon-fri 08:00-18:00");
  assertEquals(alice!.code, new Uint8Array(10).fill(9));
  assertEquals([alice!.once, alice!.run], [true, ["restart"]]);
  assertEquals([seven!.code, seven!.once, seven!.run], [null, false, []]);
  assertEquals(seven!.name, "007");
  assertEquals(seven!.forSeconds, 10);
  assertEquals(seven!.open, []);
});

test("parseConfig() needs no more than something", () => {
  const config = parseConfig("reply: true", surroundings);
  assertEquals(config.listen, [{ host: "::", port: 62201 }]);
  assertEquals(config.maxSkewMs, 120_000);
  assertEquals(config.reply, true);
  assertEquals(config.clients, []);
  assertEquals(config.state, "/state");
  assertEquals(config.log, { format: "text", level: "info" });
  for (const empty of ["clients:", "clients: {}", "services:", "log:"]) {
    assertEquals(mistakesOf(`listen: 62201\n${empty}`), [], empty);
  }
});

test("parseConfig() reads a proxied service for the gate", () => {
  const { services } = parseConfig(
    `listen: 1\nfirewall: { backend: gate }\n` +
      `services: { ssh: { listen: tcp/2222, to: "[::1]:22" } }`,
    surroundings,
  );
  assertEquals(services[0]!.to, { host: "::1", port: 22 });
});

const listening = "listen: 62201\n";
const client = (rest: string, keys = `key: ${A}, psk: ${B}`) =>
  `${listening}services: { ssh: tcp/22 }\n` +
  `clients: { a: { knock: { ${keys} }, ${rest} } }`;
const gate = `${listening}firewall: { backend: gate }\nservices: `;

const wrong: [text: string, mistakes: string[]][] = [
  ["", ["is empty"]],
  ["# nothing\n", ["is empty"]],
  ["- a", ["must be a mapping, got a list"]],
  ["hello", [`must be a mapping, got "hello"`]],
  ["a: 1\na: 2", ["line 2: cannot store mapping pair: duplicated key"]],
  ["listen: [1\nkey: x", [
    "line 2: cannot read flow collection: missing comma between flow collection entries",
  ]],
  ["listen: 1\n---\nlisten: 2", [
    "line 2: found more than 1 document in the stream: expected a single document",
  ]],
  ["firewall: { backend: command }", [
    "firewall.open: is missing with the command backend",
    "firewall.close: is missing with the command backend",
  ]],
  ["firewall: { open: [x] }", ["firewall.open: is for the command backend"]],
  ["firewall: { chain: knock }", ["firewall.chain: is for mode accept"]],
  [
    "firewall: { interfaces: [eth0@if5, 'ppp*'] }",
    ["eth0@if5", "ppp*"].map((name, index) =>
      `firewall.interfaces[${index}]: must be the name of an interface such ` +
      `as eth0, as \`ip link\` shows it before any @, got "${name}"`
    ),
  ],
  ...[15, 33, "x", "/24"].map((bits): [string, string[]] => [
    `clients: { a: { knock: { key: ${A}, psk: ${B} }, network: { ipv4: ${bits} } } }`,
    [
      `clients.a.network.ipv4: must be the bits of a network, 16 to 32, got ` +
      `"${bits}"`,
    ],
  ]),
  [
    `clients: { a: { knock: { key: ${A}, psk: ${B} }, network: { ipv6: 47 } } }`,
    [
      `clients.a.network.ipv6: must be the bits of a network, 48 to 128, got "47"`,
    ],
  ],
  [
    `clients: { a: { fwknop: { key: secret, hmac_key: other }, web: true } }`,
    [
      "clients.a.web: is for a client with keys under knock: browsers knock by " +
      "it alone",
    ],
  ],
  [
    `clients: { a: { knock: { key: ${A}, psk: ${B} }, once: true, network: { ipv4: 24 } } }`,
    [
      "clients.a.network: must be absent with once, as a single use is for " +
      "one address",
    ],
  ],
  [
    `firewall: { backend: gate }
services: { ssh: { listen: tcp/2222, to: "127.0.0.1:22", cut: true } }`,
    [`services.ssh.cut: must be false with the gate backend, got "true"`],
  ],
  [
    "firewall: { backend: iptables, refuse: reject }",
    [`firewall.refuse: must be drop with the iptables backend, got "reject"`],
  ],
  [
    "firewall: { mode: accept, refuse: reject }",
    [`firewall.refuse: must be drop in mode accept, got "reject"`],
  ],
  [
    `services:
  a: { listen: tcp/22, at: [10.0.0.5, "2001:db8::5"] }
  b: { listen: tcp/20-30, at: "2001:db8::5" }
  c: { listen: tcp/80, at: 10.0.0.5, to: "10.0.0.6:80" }
  d: { listen: tcp/81, at: 10.0.0.5, cut: true }`,
    [
      `services.b.at: must have ports of its own, got tcp/22 of "2001:db8::5" as in "a"`
        .replace("tcp/22", "tcp/20-30"),
      `services.c.at: must be absent with to, got to "10.0.0.6:80"`,
      "services.d.at: must be absent with cut and kill",
    ],
  ],
  [
    "firewall: { backend: iptables }\nservices: { a: { listen: tcp/22, at: lab } }",
    ["services.a.at: is for nft in mode guard, got backend iptables"],
  ],
  [
    "services: { a: { listen: tcp/22, at: 10.0.0.0/24 } }",
    [
      `services.a.at: must be an address or a host's name, got "10.0.0.0/24"`,
    ],
  ],
  [
    `services: { a: { listen: tcp/22, at: 10.0.0.5 } }
clients: { c: { knock: { key: ${A}, psk: ${B} }, open: [a], once: true } }`,
    [
      `clients.c.once: must be false for service "a", which is of a host ` +
      "behind this machine",
    ],
  ],
  [
    `services: { a: { listen: tcp/22, at: 10.0.0.5 } }
sequences: { s: { knock: [tcp/7000, tcp/8000, tcp/9000], open: [a] } }`,
    [
      `sequences.s.open: must be ports of this machine, got service "a", ` +
      "which is of a host behind it",
    ],
  ],
  [
    "firewall: { interfaces: [eth0, lo] }",
    [
      `firewall.interfaces: must be interfaces that strangers come in by, ` +
      `got "eth0, lo"`,
    ],
  ],
  [
    "firewall: { mode: accept, interfaces: eth0 }",
    [`firewall.interfaces: is for mode guard of nft and iptables, got "eth0"`],
  ],
  [
    "firewall: { mode: accept, chain: knock }",
    [
      `firewall.chain: must be FAMILY TABLE CHAIN with inet, ip or ip6, ` +
      `got "knock"`,
    ],
  ],
  ["firewall: { backend: gate, mode: accept }", [
    `firewall.mode: must be guard with the gate backend, got "accept"`,
  ]],
  ["listen: []", [
    "listen: must be a list with at least one entry, got an empty list",
  ]],
  ["listen: 0", [
    `listen: must be PORT, "ADDRESS:PORT" or "[IPV6]:PORT", or one of them after sniff/, tcp/ or http/, got "0"`,
  ]],
  ["listen: [65536]", [
    `listen[0]: must be PORT, "ADDRESS:PORT" or "[IPV6]:PORT", or one of them after sniff/, tcp/ or http/, got "65536"`,
  ]],
  [`listen: ["example.org:1"]`, [
    `listen[0]: must be PORT, "ADDRESS:PORT" or "[IPV6]:PORT", or one of them after sniff/, tcp/ or http/, got "example.org:1"`,
  ]],
  ["listen: [1, 1]", [
    `listen[1]: must be free of the other entries, got "[::]:1" beside "[::]:1"`,
  ]],
  [`listen: ["192.0.2.1:1", 1]`, [
    `listen[1]: must be free of the other entries, got "[::]:1" beside "192.0.2.1:1"`,
  ]],
  [`listen: ["0.0.0.0:1", "192.0.2.1:1", "[2001:db8::1]:1"]`, [
    `listen[1]: must be free of the other entries, got "192.0.2.1:1" beside "0.0.0.0:1"`,
  ]],
  [`${listening}max_skew: 0`, [
    `max_skew: must be a duration such as 30s, 5m or 8h, at least 1s and at most 86400s, got "0"`,
  ]],
  [`${listening}reply: yes`, [`reply: must be true or false, got "yes"`]],
  [`${listening}lisen: 1`, ["lisen: unknown key"]],
  [`${listening}__proto__: { a: 1 }`, ["__proto__: unknown key"]],
  [`${listening}<<: { a: 1 }`, [`"<<": unknown key`]],
  [`${listening}firewall: { backend: nftables }`, [
    `firewall.backend: must be nft, iptables, gate or command, got "nftables"`,
  ]],
  [`${listening}log: { level: loud }`, [
    `log.level: must be debug, info, warn or error, got "loud"`,
  ]],
  [`${listening}services: { ssh: 22 }`, [
    `services.ssh: must be tcp/PORT or udp/PORT, got "22"`,
  ]],
  [`${listening}services: { ssh: [tcp/22, icmp] }`, [
    `services.ssh[1]: must be tcp/PORT or udp/PORT, got "icmp"`,
  ]],
  [`${listening}services: { "a b": tcp/22 }`, [
    `services: the name must be 1 to 64 letters, digits, ".", "_" or "-" ` +
    `with a letter or digit first, got "a b"`,
  ]],
  [`${listening}services: { x: udp/62000-63000 }`, [
    `services.x: must not be the port that knocks come to, got "udp/62000-63000"`,
  ]],
  [`${gate}{ s: tcp/22 }`, [
    `services.s: must say where connections go with the gate backend, got "tcp/22"`,
  ]],
  [`${gate}{ s: { listen: udp/22, to: "a:1" } }`, [
    `services.s: must be tcp/PORT with the gate backend, got "udp/22"`,
  ]],
  [`${gate}{ s: { listen: tcp/22, to: "127.0.0.1:22" } }`, [
    `services.s: must not lead to itself, got "tcp/22" to "127.0.0.1:22"`,
  ]],
  [
    `${gate}{ s: { listen: tcp/1, to: "a:1" }, t: { listen: tcp/1, to: "b:1" } }`,
    [`services.t: must be a port of its own, got "tcp/1" as in "s"`],
  ],
  [`${gate}{ s: { listen: tcp/22, to: "nowhere" } }`, [
    `services.s.to: must be HOST:PORT, got "nowhere"`,
    `services.s: must say where connections go with the gate backend, got "tcp/22"`,
  ]],
  [`${listening}defaults: { for: 90s5 }`, [
    `defaults.for: must be a duration such as 30s, 5m or 8h, at least 1s, got "90s5"`,
  ]],
  [`${listening}clients: { "-x": {} }`, [
    `clients: the name must be 1 to 64 letters, digits, ".", "_" or "-" ` +
    `with a letter or digit first, got "-x"`,
    `clients.-x: must have the keys of a dialect, as in knock: { key, psk }`,
  ]],
  [`${listening}clients: { a: }`, [
    "clients.a: must have the keys of a dialect, as in knock: { key, psk }",
  ]],
  [client("opne: [ssh]"), ["clients.a.opne: unknown key"]],
  [client("open: [shh]"), [
    `clients.a.open: must be the name of a service, all, tcp/PORT or udp/PORT, got "shh"`,
  ]],
  [client("open: [ssh, tcp/0]"), [
    `clients.a.open[1]: must be a service's name, all, tcp/PORT or udp/PORT, got "tcp/0"`,
  ]],
  [client("for: 1.5"), [
    `clients.a.for: must be a duration such as 30s, 5m or 8h, at least 1s, got "1.5"`,
  ]],
  [client("for: 2h, max_for: 1h"), [
    `clients.a.for: must be at most max_for, 1h, got "2h"`,
  ]],
  [client("for: 1d"), [`clients.a.for: must be at most max_for, 8h, got "1d"`]],
  [client("from:"), [
    "clients.a.from: must be an address or a network such as 192.0.2.0/24, got nothing",
  ]],
  [client("from: [192.0.2.0/33]"), [
    `clients.a.from[0]: must be an address or a network such as 192.0.2.0/24, got "192.0.2.0/33"`,
  ]],
  [client("expires: 2027-02-30"), [
    `clients.a.expires: must be a time such as 2027-01-01T00:00:00Z, got "2027-02-30"`,
  ]],
  [client("hours: nights"), [
    `clients.a.hours: must be hours such as "mon-fri 08:00-18:00", got "nights"`,
  ]],
  [client("open: ssh", `key: ${A}`), ["clients.a.knock.psk: is missing"]],
  [client("open: ssh", `key: ${ZERO}, psk: ${B}`), [
    "clients.a.knock.key: must be a key of 43 base64url characters that is " +
    "not all zero, got 43 characters",
  ]],
  [client("open: ssh", `key: ${A}, psk: short`), [
    "clients.a.knock.psk: must be a key of 43 base64url characters that is " +
    "not all zero, got 5 characters",
  ]],
  [
    `${listening}clients:\n  a: { knock: { key: ${A}, psk: ${A} } }\n` +
    `  b: { knock: { key: ${A}, psk: ${B} } }`,
    [`clients.b.knock.key: must be a key of its own, got the same as client "a"`],
  ],
  [client("from: &x [*x]"), [
    "clients.a.from[0]: must be an address or a network such as 192.0.2.0/24, got a list",
  ]],
];

for (const [text, mistakes] of wrong) {
  const title = JSON.stringify(text.slice(-50));
  test(`parseConfig() refuses …${title}`, () => {
    assertEquals(mistakesOf(text).sort(), [...mistakes].sort());
  });
}

test("parseConfig() tells all mistakes at once, of the file and the key too", () => {
  const mistakes = mistakesOf(client("opne: 1, for: x").replace("62201", "x"), {
    mistakes: [{ path: "", text: "is open to others" }],
    readKey: () => ({ text: "is missing" }),
  });
  assertEquals(mistakes.length, 5, mistakes.join("\n"));
});

const hints: [text: string, hint: string][] = [
  [client("opne: [ssh]"), `did you mean "open"?`],
  [client("open: [shh]"), `did you mean "ssh"?`],
  [
    client("opne: ssh") + "\nlgo: {}",
    `clients.a.opne: did you mean "open"?\nlgo: did you mean "log"?`,
  ],
];

for (const [text, hint] of hints) {
  test(`parseConfig() hints: ${JSON.stringify(hint)}`, () => {
    const hinted = hintOf(text)!.split("\n").sort().join("\n");
    assertEquals(hinted, hint.split("\n").sort().join("\n"));
  });
}

test("parseConfig() never repeats a secret", () => {
  const secret = "SECRETSECRETSECRETSECRETSECRETSECRETSECRETS";
  for (
    const text of [
      client("open: ssh", `key: ${secret}=, psk: "${secret}!"`),
      client("open: ssh", `${secret}, psk`),
      `${listening}clients: { a: { knock: ${secret} } }`,
      `${listening}clients:\n  a: { knock: { key: ${secret}, psk: ${secret}`,
      `${listening}clients:\n  a: { knock: { psk: "${secret}\n`,
      `${listening}x: ${secret}: y\n`,
    ]
  ) {
    const told = mistakesOf(text).join("\n");
    assert(told !== "" && !told.includes("SECRET"), told);
  }
});

test("readConfig() throws nothing but ConfigError, whatever the value", () => {
  const known = fc.constantFrom(
    "listen",
    "key",
    "services",
    "clients",
    "firewall",
    "knock",
    "open",
    "a",
    "__proto__",
    "sequences",
    "backend",
    "to",
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 5 },
      fc.constantFrom(null, 62201, "ssh", "tcp/22", A, "gate", true, "1h"),
      fc.string(),
      fc.double(),
      fc.date(),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(fc.oneof(known, fc.string()), tie("tree"), { maxKeys: 4 }),
    ),
  }));
  const judge = (value: unknown) => {
    try {
      readConfig(value, surroundings);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      assert(error.lines.length > 0);
    }
  };
  fc.assert(fc.property(tree, judge), { numRuns: 500 });
  fc.assert(
    fc.property(
      tree,
      tree,
      tree,
      (services, clients, firewall) =>
        judge({ listen: 1, services, clients: { a: clients }, firewall }),
    ),
    { numRuns: 500 },
  );
});

test("parseConfig() throws nothing but ConfigError, whatever the text", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(
      fc.constantFrom(..."{}[]:,-|>&*!?\"'#@% \n\t\r\0a1".split("")),
    ).map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(text, (text) => {
      try {
        parseConfig(text, surroundings);
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        // One line each, and nothing that moves a terminal's cursor.
        for (const line of error.lines) {
          // deno-lint-ignore no-control-regex -- these are what is looked for
          assert(!/[\x00-\x1f]/.test(line), JSON.stringify(line));
        }
      }
    }),
    { numRuns: 500 },
  );
});

test("parseConfig() survives YAML that is nested too deeply", () => {
  assertEquals(mistakesOf("[".repeat(100_000)).length, 1);
});
