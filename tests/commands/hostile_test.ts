/**
 * Nothing that strangers, files or arguments say acts on a terminal: no
 * command prints a control, bidi or zero width character, half a surrogate
 * pair, or a line that is not its own, whatever is put into what it reads.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { type Command, readOptionLines } from "../../lib/commands/command.ts";
import { COMMANDS, runCommand } from "../../lib/commands/table.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { createLog } from "../../lib/server/report/log.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { formatJson } from "../../lib/values/text.ts";
import {
  type FakeOptions,
  FakeRuntime,
  START_MS,
} from "../fakes/fake_runtime.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const NASTY = [
  "\x1b[31m",
  "\x1b]0;title\x07",
  "\x9b2J",
  "\x7f",
  "\b\r",
  "\0",
  "\v\f",
  "\x85",
  "\u202e\u2066",
  "\u200b\ufeff\u00ad",
  "\u2028\u2029",
  "\ud800",
  "\udc00x",
  "\u{e0041}",
  "\nFORGED",
  "\r\nFORGED",
] as const;
const ALL = NASTY.join("x");

/** All that acts on a terminal but a newline and a tab. */
const UNSAFE = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/u;

function assertHarmless(text: string, what: string): void {
  const found = UNSAFE.exec(text);
  const code = found?.[0].codePointAt(0)?.toString(16);
  assert(!found, `${what}: U+${code} in ${JSON.stringify(text)}`);
  assert(!/^FORGED/m.test(text), `${what}: ${JSON.stringify(text)}`);
}

const DIR = "/etc/knock";
const STATE = "/var/lib/knock";
const PROFILES = "/root/.config/knock/profiles.yaml";
const key = (byte: number) => formatBase64url(new Uint8Array(32).fill(byte));
const CONFIG = `state: ${STATE}
firewall: { backend: gate }
services: { ssh: { listen: tcp/2222, to: "127.0.0.1:22" } }
clients: { alice: { knock: { key: "${
  formatBase64url(publicKeyOf(new Uint8Array(32).fill(9)))
}", psk: "${key(8)}" }, open: [ssh] } }
`;
const PROFILE = `home:
  server: 192.0.2.1:62201
  knock: { server: ${key(7)}, key: ${key(9)}, psk: ${key(8)} }
`;

function machine(
  files: Readonly<Record<string, string>> = {},
  options: FakeOptions = {},
): FakeRuntime {
  return new FakeRuntime({
    userId: 0,
    env: { HOME: "/root" },
    ...options,
    files: {
      [`${DIR}/server.yaml`]: CONFIG,
      [`${DIR}/server.key`]: `${key(7)}\n`,
      [PROFILES]: PROFILE,
      ...files,
    },
  });
}

/** Runs a command line, and looks at all that it prints. */
async function runHarmless(
  args: readonly string[],
  runtime: FakeRuntime,
): Promise<void> {
  await runCommand(args, runtime);
  const what = `knock ${args.map((one) => JSON.stringify(one)).join(" ")}`;
  assertHarmless(runtime.stdout + "\n" + runtime.stderr, what);
}

/** Command lines with a nasty text in each place that takes one. */
function commandLines(name: string, command: Command): string[][] {
  const of = (words: string[], help: string) => {
    const lines = readOptionLines(help);
    const flags = lines.filter(({ value }) => value === null);
    const options = lines.filter(({ value }) => value !== null)
      .map(({ long }) => long);
    return [
      [...words, ALL],
      [...words, "home", ALL],
      [...words, "home", "a", ALL],
      [...words, `--${ALL}`],
      [...words, `-${ALL}`],
      ...flags.map(({ long }) => [...words, `--${long}`, ALL]),
      ...options.flatMap((option) => [
        [...words, `--${option}=${ALL}`],
        [...words, "home", `--${option}=${ALL}`],
        [...words, `--${option}=/tmp/${ALL}`, "home"],
      ]),
    ];
  };
  return [
    ...of([name], command.help),
    ...Object.entries(command.subcommands ?? {}).flatMap(([word, help]) =>
      of([name, word], help)
    ),
  ];
}

for (const [name, load] of Object.entries(COMMANDS)) {
  test(`knock ${name} prints nothing of its arguments that acts on a terminal`, async () => {
    const command = await load();
    for (const args of commandLines(name, command)) {
      const runtime = machine();
      runtime.clock.set(START_MS);
      // What waits for a signal gets one.
      const stop = setInterval(() => {
        runtime.signal("SIGTERM");
        runtime.signal("SIGINT");
      }, 1);
      try {
        await runHarmless(args, runtime);
      } finally {
        clearInterval(stop);
      }
    }
  });
}

test("knock prints nothing of a word that is no command", async () => {
  for (const nasty of [...NASTY, ALL]) {
    for (const args of [[nasty], [`--${nasty}`], [nasty, "22"], ["x", nasty]]) {
      await runHarmless(args, machine());
    }
  }
});

/** Files that commands read: a nasty text in each place, as YAML has it. */
const nasty = JSON.stringify(ALL);
const configs: readonly string[] = [
  `${nasty}: 1`,
  `listen: ${nasty}`,
  `listen: [${nasty}]`,
  `services: { ${nasty}: tcp/22 }`,
  `services: { ${nasty}: ${nasty} }`,
  `services: { ssh: ${nasty} }`,
  `services: { ssh: { listen: tcp/22, to: ${nasty} } }`,
  `services: { ssh: { listen: tcp/22, ${nasty}: 1 } }`,
  `firewall: { backend: ${nasty} }`,
  `firewall: { backend: nft, chain: ${nasty}, mode: accept }`,
  `commands: { ${nasty}: [a] }`,
  `commands: { a: [${nasty}] }`,
  `clients: { ${nasty}: { knock: { key: ${nasty} } } }`,
  `clients: { ${nasty}: {} }`,
  `clients: { alice: { open: [${nasty}] } }`,
  `clients: { alice: { from: [${nasty}], hours: ${nasty}, for: ${nasty} } }`,
  `clients: { alice: { expires: ${nasty}, run: [${nasty}] } }`,
  `clients: { alice: { code: ${nasty} } }`,
  `sequences: { ${nasty}: { hits: ${nasty} } }`,
  `sequences: { a: { file: ${nasty} } }`,
  `state: ${nasty}`,
  `key: ${nasty}`,
  `log: { level: ${nasty} }`,
  `x: [${ALL}`,
  ALL,
  `${CONFIG}# ${ALL}`,
];
const readers: readonly string[][] = [
  ["check"],
  ["status"],
  ["status", "--json"],
  ["log"],
  ["doctor"],
  ["doctor", "--json"],
  ["client", "list"],
  ["client", "show", "alice"],
  ["client", "add", "bob"],
  ["client", "remove", "alice"],
  ["rules"],
  ["decode"],
];
for (const args of readers) {
  test(`knock ${args.join(" ")} prints nothing of a file that acts on a terminal`, async () => {
    for (const config of configs) {
      const files = { [`${DIR}/server.yaml`]: config };
      await runHarmless(args, machine(files, { stdin: ALL }));
      const both = { [`${DIR}/server.yaml`]: `${CONFIG}${config}` };
      await runHarmless(args, machine(both, { stdin: ALL }));
    }
  });
}

const profiles: readonly string[] = [
  `${nasty}: { server: "192.0.2.1:1" }`,
  PROFILE.replace("home", nasty),
  PROFILE.replace("192.0.2.1:62201", nasty),
  PROFILE.replace(key(9), nasty),
  `${PROFILE}  open: [${nasty}]\n`,
  `${PROFILE}  from: ${nasty}\n`,
  `${PROFILE}  ${nasty}: 1\n`,
  `${PROFILE}  resolve: { stun: ${nasty}, https: ${nasty} }\n`,
  ALL,
];
for (
  const args of [
    ["profiles"],
    ["profiles", "--json"],
    ["profiles", "--names"],
    ["doctor"],
    ["ping", "home"],
    ["send", ALL],
    ["seq", ALL, "7000"],
    ["exec", "home", "--", ALL],
    ["import", "/f"],
  ]
) {
  test(`knock ${JSON.stringify(args)} prints nothing of a profile that acts on a terminal`, async () => {
    for (const text of profiles) {
      const runtime = machine({ [PROFILES]: text, "/f": text });
      runtime.network.world = () => [];
      await runHarmless(args, runtime);
    }
  });
}

const foreign: readonly (readonly [tool: string, text: string])[] = [
  ["knockd", `[${ALL}]\nsequence = 1,2\ncommand = ${ALL}\n`],
  ["knockd", `[a]\n${ALL} = ${ALL}\nsequence = ${ALL}\ntcpflags = ${ALL}\n`],
  ["knockd", `[options]\nlogfile = ${ALL}\n${ALL}\n[a]\nsequence = 7000\n`],
  ["knockd", `[a]\nsequence=7000\ntarget=${ALL}\nstart_command=${ALL}\n`],
  ["fwknop", `SOURCE ANY\nKEY ${ALL}\nOPEN_PORTS ${ALL}\n${ALL} x\n`],
  ["fwknop", `SOURCE ${ALL}\nKEY_BASE64 ${ALL}\nREQUIRE_USERNAME ${ALL}\n`],
  ["fwknop", `[${ALL}]\nSPA_SERVER ${ALL}\nKEY ${ALL}\n`],
  ["openme", `server: { udp_port: ${nasty}, private_key: ${nasty} }`],
  [
    "openme",
    `server: {}\nclients: { ${nasty}: { allowed_ports: [${nasty}] } }`,
  ],
  ["openme", ALL],
];
for (const [tool, text] of foreign) {
  test(
    `knock convert ${tool} prints nothing that acts on a terminal of ${
      JSON.stringify(text).slice(0, 30)
    }`,
    async () => {
      for (const more of [[], ["--dir", "/out"]]) {
        const runtime = machine({ "/f": text });
        await runHarmless(["convert", tool, "/f", ...more], runtime);
      }
      const named = machine({ [`/${ALL}`]: text });
      await runHarmless(["convert", tool, `/${ALL}`], named);
    },
  );
}

test("status and log print nothing of the state that acts on a terminal", async () => {
  const runtime = machine({ [`${STATE}/state.db`]: "" });
  const store = await openStore(runtime, STATE);
  store.setFact("server", {
    pid: runtime.pid,
    sinceMs: START_MS,
    backend: ALL,
    listen: [ALL],
  });
  store.setFact("counters", { [ALL]: ALL });
  store.setFact("sequences", [
    { name: ALL, left: 1, trouble: ALL },
    { name: ALL, left: null, trouble: null },
  ]);
  store.ledger.put({
    client: ALL,
    address: ALL,
    ports: { protocol: ALL as "tcp", first: 22, last: 22 },
    sinceMs: START_MS,
    untilMs: START_MS + 60_000,
    once: false,
    to: null,
  });
  const event = { address: ALL, ports: ALL, dialect: ALL, reason: ALL };
  for (const name of ["open", "refused", ALL as "open"] as const) {
    const all = { atMs: START_MS, event: name, client: ALL, seconds: 1 };
    store.history.add({ ...all, ...event });
  }
  store.close();
  for (const args of [["status"], ["status", "--json"], ["log"]]) {
    await runHarmless(args, runtime);
    assert(runtime.stdout.length > 100, "it was printed");
    runtime.stdout = "";
  }
  await runHarmless(["log", "--json"], runtime);
  // Programs get it back as it was.
  const [line] = runtime.stdout.split("\n");
  assert(JSON.parse(line!).client.startsWith("\x1b[31mx\x1b]0;title\x07x\x9b"));
});

test("decode prints nothing of a packet that acts on a terminal", async () => {
  const { packet } = sealKnock(
    {
      server: publicKeyOf(new Uint8Array(32).fill(7)),
      key: new Uint8Array(32).fill(9),
      psk: new Uint8Array(32).fill(8),
      ephemeral: new Uint8Array(32).fill(3),
    },
    {
      action: "run",
      ports: [],
      command: "a\x1b[2J\x9b\u202e\u200b\nFORGED\u2028",
      seconds: 0,
      address: null,
      code: null,
      wantsReply: true,
    },
    START_MS,
  );
  for (const args of [["decode"], ["decode", "--profiles", PROFILES]]) {
    const runtime = machine({}, { stdin: packet.toHex() });
    await runHarmless(args, runtime);
    assert(runtime.stdout.includes("knock"), runtime.stdout + runtime.stderr);
  }
});

test("the doctor prints nothing of other programs that acts on a terminal", async () => {
  const nft = `${CONFIG.replace("backend: gate", "backend: nft")}`
    .replace('{ listen: tcp/2222, to: "127.0.0.1:22" }', "tcp/22");
  for (const stdout of [ALL, `{"nftables":[{"x":${nasty}}]}`]) {
    for (const code of [0, 1]) {
      const runtime = machine({ [`${DIR}/server.yaml`]: nft });
      for (const name of ["nft", "iptables-save", "conntrack", "ss"]) {
        runtime.programs.set(name, () => ({ code, stdout, stderr: ALL }));
      }
      await runHarmless(["doctor"], runtime);
      await runHarmless(["doctor", "--json"], runtime);
    }
  }
});

for (const format of ["text", "json"] as const) {
  test(`the server's log as ${format} holds no line that is not its own`, () => {
    const runtime = new FakeRuntime({ steps: "by hand" });
    const log = createLog(runtime, { format, level: "debug" });
    for (const text of [...NASTY, ALL]) {
      log("warn", `refused ${text}`, { client: text, [text]: text });
    }
    assertHarmless(runtime.stderr, "log");
    assertEquals(runtime.stderr.trimEnd().split("\n").length, NASTY.length + 1);
  });
}

test("formatJson() says what JSON.stringify() says, and nothing acts on a terminal", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.constantFrom(...NASTY)).map((parts) => parts.join("")),
  );
  const value = fc.oneof(
    fc.jsonValue(),
    text,
    fc.array(text),
    fc.dictionary(text, text),
  );
  fc.assert(fc.property(value, fc.constantFrom(0, 2), (value, indent) => {
    const json = formatJson(value, indent);
    assert(!UNSAFE.test(json), json);
    assertEquals(JSON.parse(json), JSON.parse(JSON.stringify(value)));
  }));
});
