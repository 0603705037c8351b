import { assert, assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/operator/doctor/doctor.ts";
import { checkClients } from "../../lib/commands/operator/doctor/files.ts";
import { checkFirewall } from "../../lib/commands/operator/doctor/filter.ts";
import type { Finding } from "../../lib/commands/operator/doctor/finding.ts";
import {
  checkClock,
  checkServer,
} from "../../lib/commands/operator/doctor/server.ts";
import {
  checkServices,
  parseSockets,
  type Socket,
} from "../../lib/commands/operator/doctor/services.ts";
import type { Config } from "../../lib/config/config.ts";
import { parseIptablesSave } from "../../lib/firewall/host/iptables_save.ts";
import { mayAdministerNetwork } from "../../lib/firewall/nft/library.ts";
import { readStatus } from "../../lib/server/report/status.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, NFT_GUARD } from "../fakes/fixtures.ts";

/** The status of no server. */
const NOTHING = readStatus(null, START_MS, () => false);

/** Findings as "level text", to be compared. */
const told = (findings: readonly Finding[]) =>
  findings.map(({ level, text }) => `${level} ${text}`);

// --- sockets

test("parseSockets() reads who listens, on IPv4 and IPv6", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
  const rest = "00000000:00000000 00:00000000 00000000 0 0 1145 1 0 100";
  assertEquals(
    parseSockets(
      `${head}   0: 0100007F:0016 00000000:0000 0A ${rest}
   1: 00000000:07E8 00000000:0000 0A ${rest}
   2: 0100007F:0016 0100007F:D431 01 ${rest}\n`,
      "tcp",
      4,
    ).map(({ address, port }) => [address, port]),
    [["127.0.0.1", 22], ["0.0.0.0", 2024]],
  );
  const any = "0".repeat(32);
  assertEquals(
    parseSockets(
      `${head}  5: ${any}:F2F9 ${any}:0000 07 ${rest}
  6: B80D0120000000000000000001000000:0035 ${any}:0000 07 ${rest}
  7: 0000000000000000FFFF00000100007F:0035 ${any}:0000 07 ${rest}\n`,
      "udp",
      6,
    ).map(({ address, port }) => [address, port]),
    [["::", 62201], ["2001:db8::1", 53], ["127.0.0.1", 53]],
  );
});

test("the doctor finds nothing bad in sequences without clients", () => {
  const entry = {
    name: "a",
    watch: "sniff",
    opens: [],
    oneTime: false,
    closes: null,
    run: { ipv4: null, ipv6: null },
    runAfter: { ipv4: null, ipv6: null },
    from: null,
    every: null,
  } as const;
  const config = makeConfig([], { sequences: [entry] });
  assertEquals(told(checkClients(config, START_MS)), [
    "ok none is enrolled: port sequences alone open here",
  ]);
  const server = { sinceMs: START_MS, backend: "gate", listen: [] };
  const found = told(
    checkServer(config, { ...NOTHING, server: server as never }, [], false),
  );
  assertEquals(found.length, 1);
  assertMatch(found[0]!, /^ok server running/);
  const drops = parseIptablesSave("*filter\n:INPUT DROP\nCOMMIT\n", 4);
  const ruleset = { chains: drops, tables: [] };
  assertEquals(
    told(checkFirewall(config, ruleset as never, true))
      .filter((line) => line.startsWith("bad")),
    [],
  );
});

// --- services

const at = (address: string, port: number, protocol = "tcp"): Socket => ({
  protocol: protocol as "tcp" | "udp",
  family: address.includes(":") ? 6 : 4,
  address,
  port,
});
const service = (
  name: string,
  port: string,
  to: { host: string; port: number } | null = null,
): Config["services"][number] => ({
  name,
  ports: [parsePortRange(port)!],
  to,
  masquerade: false,
  kill: false,
});
const NFT = {
  firewall: NFT_GUARD,
} as const;
const nft = (over: Partial<Config> = {}) =>
  makeConfig([makeClient()], {
    ...NFT,
    services: [service("ssh", "tcp/22")],
    ...over,
  });
const gate = (host: string) =>
  makeConfig([makeClient()], {
    services: [service("ssh", "tcp/2222", { host, port: 22 })],
  });

const services: [
  name: string,
  config: Config,
  sockets: readonly Socket[] | null,
  want: string,
][] = [
  ["nothing", nft(), [at("0.0.0.0", 80)], "warn .* nothing listens there"],
  ["UDP alone", nft(), [at("::", 22, "udp")], "warn .* nothing listens there"],
  ["loopback", nft(), [at("127.0.0.1", 22)], "warn .* loopback alone"],
  ["all", nft(), [at("0.0.0.0", 22), at("::", 22)], "ok .*0.0.0.0, ::"],
  [
    "IPv6 without knocks",
    nft({ listen: [{ host: "0.0.0.0", port: 62201 }] }),
    [at("::", 22)],
    "warn .* IPv6 too",
  ],
  ["no services", nft({ services: [] }), [], "warn no service is guarded"],
  ["no look", nft(), null, "unknown cannot see"],
  ["gate", gate("127.0.0.1"), [at("127.0.0.1", 22)], "ok .* gate alone"],
  [
    "bare gate",
    gate("127.0.0.1"),
    [at("0.0.0.0", 22)],
    "warn .* every address",
  ],
  ["empty gate", gate("localhost"), [], "warn .* nothing listens"],
  ["gate elsewhere", gate("192.0.2.1"), [], "ok ssh: passed on"],
];

for (const [name, config, sockets, want] of services) {
  test(`checkServices() ${name}`, () => {
    const [said, ...more] = told(checkServices(config, sockets));
    assertMatch(said!, new RegExp(`^${want}`));
    assertEquals(more, []);
  });
}

// --- the server

const FACT = {
  pid: 1,
  sinceMs: START_MS,
  backend: "nft",
  listen: ["[::]:62201"],
};
const UDP = [at("::", 62201, "udp")];
const RECEIVED = { received: 3 };

const servers: [
  name: string,
  server: typeof FACT | null,
  sockets: readonly Socket[] | null,
  counters: Record<string, number>,
  want: string[],
][] = [
  ["runs", FACT, UDP, RECEIVED, ["ok .*running since", "ok .*server listens"]],
  ["stopped", null, [], {}, ["bad .*not running", "ok .*free"]],
  ["taken", null, UDP, {}, ["bad .*not running", "bad .*another program"]],
  ["deaf", FACT, [], RECEIVED, ["ok .*", "bad .*nobody listens"]],
  ["unseen", FACT, null, RECEIVED, ["ok .*", "unknown .*cannot see"]],
  ["silent", FACT, UDP, {}, ["ok", "ok", "warn no packet has come in"]],
  ["stale", FACT, UDP, { ...RECEIVED, "refused: time": 2 }, [
    "ok",
    "ok",
    "warn 2 authentic packets .*max_skew 120 s",
  ]],
  ["failing", FACT, UDP, { ...RECEIVED, "failed: firewall": 1 }, [
    "ok",
    "ok",
    "bad 1 knock granted",
  ]],
];

for (const [name, server, sockets, counters, want] of servers) {
  test(`checkServer() ${name}`, () => {
    const status = { ...NOTHING, server, counters };
    const said = told(checkServer(nft(), status, sockets, false));
    assertEquals(said.length, want.length, said.join("\n"));
    want.forEach((words, index) =>
      assertMatch(said[index]!, new RegExp(`^${words}`))
    );
  });
}

// --- packet filters

const rules = (text: string, tables = ["inet knock"]) => ({
  chains: parseIptablesSave(text, 4),
  tables,
  local: [],
});
const CLOSED = `*filter\n:INPUT DROP [0:0]\n`;

test("checkFirewall() finds who drops knocks, and what they open", () => {
  const said = checkFirewall(nft(), rules(CLOSED), true);
  assertEquals(told(said), [
    "ok table inet knock is in place",
    "bad chain INPUT of table ip filter drops knocks to udp/62201 by IPv4",
    "bad chain INPUT of table ip filter drops what is opened, tcp/22 by IPv4",
    "ok guarded ports are silent, as this host's other ports",
  ]);
  assertMatch(said[1]!.cure!, /ufw allow 62201\/udp/);
});

test("checkFirewall() is content with rules that let all through", () => {
  const open = CLOSED + "-A INPUT -p udp --dport 62201 -j ACCEPT\n" +
    "-A INPUT -p tcp --dport 22 -j ACCEPT\n";
  assertEquals(told(checkFirewall(nft(), rules(open), true)), [
    "ok table inet knock is in place",
    "ok the other packet filters let through knocks to udp/62201",
    "ok the other packet filters let through what is opened, tcp/22",
    "ok guarded ports are silent, as this host's other ports",
  ]);
});

test("checkFirewall() warns where only some get through", () => {
  const some = CLOSED + "-A INPUT -s 10.0.0.0/8 -j ACCEPT\n";
  const [, knocks] = told(checkFirewall(nft(), rules(some), true));
  assertMatch(knocks!, /^warn .* from some sources/);
});

test("checkFirewall() in mode accept leaves the services to our chain", () => {
  const config = nft({ firewall: { ...NFT.firewall, mode: "accept" } });
  const said = told(checkFirewall(config, rules(CLOSED), true));
  assert(!said.some((text) => text.includes("tcp/22")), said.join("\n"));
});

test("checkFirewall() finds a port that leads to a guarded one behind its guard", () => {
  const redirect = (port: number) =>
    `*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p tcp -m tcp --dport ` +
    `${port} -j REDIRECT --to-ports 22\n`;
  const bypass = (services: Config["services"], port: number) =>
    checkFirewall(nft({ services }), rules(redirect(port)), true)
      .filter(({ id }) => id === "filter_bypass");
  const [found, ...more] = bypass([service("ssh", "tcp/22")], 2222);
  assertEquals(more, []);
  assertEquals(found!.level, "bad");
  assertMatch(found!.text, /^tcp\/2222 leads to tcp\/22, which is guarded/);
  assertEquals(found!.cure, "services: { NAME: [tcp/22, tcp/2222] }");
  // Guarded itself, or to a port that is not.
  assertEquals(bypass([service("ssh", "tcp/22-2222")], 2222), []);
  assertEquals(bypass([service("web", "tcp/80")], 2222), []);
});

const refusals: [
  host: string,
  refuse: "drop" | "reject",
  want: string[],
][] = [
  [CLOSED, "drop", ["ok guarded ports are silent, as this host's other ports"]],
  ["", "reject", ["ok guarded ports answer as this host's other closed ports"]],
  ["", "drop", [
    "ok a scanner can tell guarded ports: they are silent, and this host's " +
    "other closed ports answer",
  ]],
  [CLOSED, "reject", [
    "warn a scanner can tell guarded ports: they answer, and this host's other " +
    "ports are silent",
  ]],
  [
    CLOSED + "-A INPUT -j REJECT --reject-with icmp-port-unreachable\n",
    "reject",
    [
      "ok guarded ports answer as this host's other closed ports",
    ],
  ],
  [CLOSED + "-A INPUT -s 10.0.0.0/8 -j ACCEPT\n", "drop", []],
];
for (const [host, refuse, want] of refusals) {
  test(`checkFirewall() compares ${refuse} with ${host || "no rules"}`, () => {
    const firewall = { ...NFT_GUARD, refuse };
    const found = checkFirewall(nft({ firewall }), rules(host), true)
      .filter(({ id }) => id === "filter_refuse");
    assertEquals(told(found), want);
    assertEquals(
      found.some(({ cure }) => cure !== undefined),
      want.some((text) => text.includes("a scanner can tell")),
    );
  });
}

const interfaces: [have: string[], named: string[], want: string[]][] = [
  [["lo", "eth0"], [], []],
  [["lo", "eth0", "docker0", "veth1a2b"], [], [
    "warn containers behind docker0 that call a guarded port of this machine " +
    "are dropped without a grant, too",
  ]],
  [["lo", "eth0", "docker0"], ["eth0"], ["ok ports are guarded at eth0"]],
  [["lo", "eth0", "wlan0"], ["eth0"], [
    "warn services are open to all that comes in by wlan0",
  ]],
  [["lo", "eth0"], ["eth0", "eth1"], [
    "ok ports are guarded at eth0, eth1",
    'warn there is no interface "eth1"',
  ]],
];
for (const [have, named, want] of interfaces) {
  test(`checkFirewall() with ${have} of which ${named} are named`, () => {
    const firewall = { ...NFT_GUARD, interfaces: named };
    const found = checkFirewall(nft({ firewall }), rules(""), true, have)
      .filter(({ id }) => id === "filter_interfaces");
    assertEquals(told(found), want);
    if (found[0]?.level === "warn" && named.length === 0) {
      assertMatch(found[0].cure!, /firewall: \{ interfaces: \[eth0\] \}$/);
    }
  });
}

test("checkFirewall() finds containers that are open past the guard", () => {
  const docker = `*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
`;
  const services = [service("web", "tcp/8080")];
  const bypass = (firewall: Config["firewall"]) =>
    checkFirewall(nft({ services, firewall }), rules(docker), true)
      .filter(({ id }) => id === "filter_bypass");
  assertEquals(told(bypass(NFT_GUARD)), [
    "ok tcp/8080 is forwarded to 172.17.0.2:80, and guarded before that",
  ]);
  const [accepted] = bypass({ ...NFT_GUARD, mode: "accept" });
  assertEquals(accepted!.level, "bad");
  assertMatch(
    accepted!.text,
    /^tcp\/8080 is forwarded to 172\.17\.0\.2:80 before any input chain/,
  );
  assertMatch(accepted!.cure!, /mode: guard/);
  const forwarded = nft({
    services: [service("web", "tcp/8080", { host: "172.17.0.2", port: 80 })],
  });
  const none = checkFirewall(forwarded, rules(docker), true);
  assert(none.every(({ level }) => level === "ok"), told(none).join("\n"));
});

test("checkFirewall() misses our own table", () => {
  const [running] = told(checkFirewall(nft(), rules("", []), true));
  assertMatch(running!, /^bad table inet knock is gone/);
  const [stopped] = told(checkFirewall(nft(), rules("", []), false));
  assertMatch(stopped!, /^warn nothing is guarded/);
  assertMatch(told(checkFirewall(nft(), null, true))[0]!, /^unknown/);
});

// --- clients, clock, rights

test("checkClients() names services that no client may open", () => {
  const config = nft({
    services: [
      ...nft().services,
      { ...nft().services[0]!, name: "vpn", ports: [parsePortRange("udp/1")!] },
    ],
    clients: [
      makeClient({ open: nft().services.flatMap(({ ports }) => ports) }),
    ],
  });
  const [, ...findings] = checkClients(config, START_MS);
  assertEquals(told(findings), ['warn no client may open the service "vpn"']);
});

test("checkClients() tells who gets nothing", () => {
  const day = 86_400_000;
  const config = nft({
    clients: [
      makeClient({ name: "fine" }),
      makeClient({ name: "idle", open: [] }),
      makeClient({ name: "gone", expiresMs: START_MS }),
      makeClient({ name: "soon", expiresMs: START_MS + day }),
      makeClient({ name: "later", expiresMs: START_MS + 100 * day }),
      makeClient({ name: "runs", open: [], run: ["restart"] }),
    ],
  });
  assertEquals(told(checkClients(config, START_MS)), [
    "ok 6 enrolled: fine, idle, gone, soon, later, runs",
    'warn client "idle" may open nothing',
    'warn client "gone" has expired (2026-01-02T12:00:00.000Z)',
    'warn client "soon" expires soon (2026-01-03T12:00:00.000Z)',
  ]);
  assertMatch(
    told(checkClients(nft({ clients: [] }), 0))[0]!,
    /^bad no client/,
  );
});

const clocks: [
  name: string,
  files: Record<string, string>,
  programs: Record<string, string>,
  want: string,
][] = [
  ["timesyncd", { "/run/systemd/timesync/synchronized": "" }, {}, "ok"],
  ["systemd", { "/run/systemd/system/x": "" }, { timedatectl: "yes\n" }, "ok"],
  ["unset", { "/run/systemd/system/x": "" }, { timedatectl: "no\n" }, "warn"],
  ["chrony", {}, { chronyc: "Leap status     : Normal\n" }, "ok"],
  ["lost", {}, { chronyc: "Leap status     : Not synchronised\n" }, "warn"],
  ["nobody", {}, {}, "unknown"],
];

for (const [name, files, programs, want] of clocks) {
  test(`checkClock() ${name}: ${want}`, async () => {
    const runtime = new FakeRuntime({ files });
    for (const [program, stdout] of Object.entries(programs)) {
      runtime.programs.set(program, () => ({ stdout }));
    }
    const { level, text } = await checkClock(runtime, 120_000);
    assertEquals(level, want);
    assertMatch(text, /120 s/);
  });
}

test("mayAdministerNetwork() reads CAP_NET_ADMIN", () => {
  const status = (caps: string) =>
    new FakeRuntime({ files: { "/proc/self/status": `CapEff:\t${caps}\n` } });
  assertEquals(mayAdministerNetwork(status("000001fffeffffff")), true);
  assertEquals(mayAdministerNetwork(status("0000000000001000")), true);
  assertEquals(mayAdministerNetwork(status("0000000000000000")), false);
  assertEquals(mayAdministerNetwork(new FakeRuntime()), null);
});

// --- the command

const key = (byte: number) => formatBase64url(new Uint8Array(32).fill(byte));
const SERVER_YAML = `state: /var/lib/knock
firewall: { backend: gate }
services: { ssh: { listen: tcp/2222, to: "127.0.0.1:22" } }
clients: { alice: { knock: { key: "${key(9)}", psk: "${
  key(8)
}" }, open: [ssh] } }
`;
const HEAD = "  sl  local_address\n";
const ANY = "0".repeat(32);

function machine(
  files: Record<string, string> = {},
  terminals: readonly "out"[] = [],
): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    terminals,
    env: { HOME: "/root" },
    files: {
      "/etc/knock/server.yaml": SERVER_YAML,
      "/etc/knock/server.key": key(7),
      "/proc/net/tcp": `${HEAD} 0: 0100007F:0016 00000000:0000 0A 0\n`,
      "/proc/net/udp6": `${HEAD} 0: ${ANY}:F2F9 ${ANY}:0000 07 0\n`,
      ...files,
    },
  });
}

test("run() finds nothing bad on a good machine, without secrets", async () => {
  const runtime = machine();
  runtime.programs.set("nft", () => ({ stdout: '{"nftables":[]}' }));
  runtime.files.makeFolder("/var/lib/knock", 0o700);
  runtime.files.put("/var/lib/knock/state.db", "");
  const store = await openStore(runtime, "/var/lib/knock");
  store.setFact("server", { ...FACT, pid: runtime.pid });
  store.setFact("counters", RECEIVED);
  assertEquals(await run([], runtime), 0, runtime.stdout);
  assertMatch(runtime.stdout, /\n0 bad, 0 to look at, 1 not known, \d+ ok\n$/);
  assert(![7, 8, 9].some((byte) => runtime.stdout.includes(key(byte))));

  runtime.stdout = "";
  assertEquals(await run(["--json"], runtime), 0);
  const { ok, findings } = JSON.parse(runtime.stdout);
  assertEquals(ok, true);
  assert(findings.every((one: object) => "group" in one && "cure" in one));
});

test("run() on a terminal of 80 columns: in colour, no word is cut", async () => {
  const runtime = machine({}, ["out"]);
  assertEquals(await run([], runtime), 1);
  assert(runtime.stdout.includes("\x1b[31mBAD \x1b[m  server not running"));
  assert(runtime.stdout.includes("\x1b[32mok  \x1b[m"));
  // deno-lint-ignore no-control-regex -- escape sequences
  const lines = runtime.stdout.replace(/\x1b\[\d*m/g, "").split("\n");
  for (const line of lines) assert(line.length <= 80, line);
  const plain = machine();
  await run([], plain);
  const words = (text: string) => text.split(/\s+/).join(" ");
  const started = /\d\d:\d\d:\d\d \(\d+ \w+\)/;
  assertEquals(
    words(lines.join("\n").replace(started, "")),
    words(plain.stdout.replace(started, "")),
  );
});

test("run() ends with 1 where the server does not run", async () => {
  const runtime = machine();
  assertEquals(await run([], runtime), 1);
  assertMatch(
    runtime.stdout,
    /BAD {3}server not running.*\n +-> systemctl/,
  );
  assertMatch(runtime.stdout, /BAD {3}udp \[::\]:62201: another program/);
});

test("run() tells every mistake of a configuration", async () => {
  const runtime = machine({ "/etc/knock/server.yaml": "listen: x\nkeyy: y\n" });
  runtime.files.chmod("/etc/knock/server.yaml", 0o644);
  assertEquals(await run([], runtime), 1);
  assertMatch(runtime.stdout, /BAD .*closed to other users/);
  assertMatch(runtime.stdout, /BAD .*listen/);
  assertMatch(runtime.stdout, /BAD .*keyy/);
});

test("run() without a configuration is bad, but not for a client", async () => {
  const bare = new FakeRuntime();
  assertEquals(await run([], bare), 1);
  assertMatch(bare.stdout, /BAD {3}there is no configuration\n +-> knock init/);
  const profiles = "/home/alice/.config/knock/profiles.yaml";
  const client = new FakeRuntime({ files: { [profiles]: "{}" } });
  assertEquals(await run([], client), 0, client.stdout);
  client.files.chmod(profiles, 0o644);
  assertEquals(await run([], client), 1);
  assertMatch(client.stdout, /-> chmod 600/);
});

test("run() works without rights, and says what it could not see", async () => {
  const runtime = new FakeRuntime({
    userId: 1000,
    files: {
      "/etc/knock/server.yaml": SERVER_YAML.replace("gate", "nft")
        .replace(/services:.*\n/, "services: { ssh: tcp/22 }\n"),
      "/etc/knock/server.key": key(7),
      "/proc/self/status": "CapEff:\t0000000000000000\n",
    },
  });
  runtime.files.makeFolder("/var/lib", 0o755);
  const args = ["--config", "/etc/knock/server.yaml"];
  assertEquals(await run(args, runtime), 1);
  assertMatch(runtime.stdout, /\? {5}backend nft: cannot be tried/);
  assertMatch(runtime.stdout, /\? {5}the packet filter .* cannot be looked at/);
});
