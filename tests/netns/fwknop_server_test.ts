/** The real client of fwknop 2.6 against our whole server, and ours against the real daemon. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { DIGEST_TYPES } from "../../lib/dialects/crypto/hash.ts";
import { CIPHER_MODES } from "../../lib/dialects/fwknop/keys.ts";
import { CLIENTS, netnsTest, type Pair, pass, SERVER } from "./netns.ts";
import { Program } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const MAC = new Uint8Array(64).fill(0x5a).toBase64();
/** Longer than a packet and its grant take. */
const OPEN_MS = 30_000;
const STEP_MS = 50;

/** The server with fwknop clients alone, and the real client. */
class Stage {
  readonly program: Program;
  readonly pair: Pair;

  constructor(pair: Pair) {
    this.pair = pair;
    this.program = new Program(pair);
  }

  async serve(settings: string, clients: string): Promise<void> {
    const { program } = this;
    program.configure(settings, []);
    const text = readFileSync(program.config, "utf8").replace(
      /clients:\n\s*\{\}\n/,
      `clients:\n${clients}\n`,
    );
    writeFileSync(program.config, text);
    await program.serve();
  }

  /** Runs the real client; its packet, as it was sent. */
  async send(...args: string[]): Promise<string> {
    const file = join(this.program.folder, "packet");
    rmSync(file, { force: true });
    // deno-fmt-ignore
    const said = await this.pair.exec(this.pair.client, [
      "fwknop", "--no-save-args", "--no-rc-file", "-B", file,
      "-D", SERVER[4], ...args,
    ]);
    assertEquals(said.code, 0, said.stderr + said.stdout);
    return readFileSync(file, "utf8").trim();
  }

  /** Sends bytes to the server's UDP port. */
  async sendBytes(bytes: string): Promise<void> {
    const script = `exec 3<>/dev/udp/${SERVER[4]}/62201; cat >&3`;
    await this.pair.exec(this.pair.client, ["bash", "-c", script], bytes);
  }

  /** Waits until a port is, or is no longer, reached from an address. */
  async becomes(open: boolean, port: number, from: string = HERE) {
    for (let waited = 0; waited < OPEN_MS; waited += STEP_MS) {
      if (await this.pair.canReach(from, port) === open) return;
      await pass(STEP_MS);
    }
    const words = open ? "does not open" : "does not shut";
    throw new Error(`tcp/${port} ${words}:\n${this.program.log}`);
  }
}

function staged(
  name: string,
  body: (stage: Stage) => Promise<void>,
  programs: readonly string[] = [],
) {
  netnsTest(name, async (pair) => {
    const stage = new Stage(pair);
    try {
      await body(stage);
    } finally {
      stage.program.remove();
    }
  }, ["fwknop", ...programs]);
}

// deno-fmt-ignore
const KEYS = [
  "--key-base64-rijndael", KEY, "--use-hmac", "--key-base64-hmac", MAC,
];

const ALICE = `  alice:
    fwknop: { key_base64: "${KEY}", hmac_key_base64: "${MAC}" }
`;

staged(
  "the real client opens what it should, for the time it should",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22, 80);
    await stage.serve(
      "services: { ssh: tcp/22, web: tcp/80 }",
      `${ALICE}    open: [ssh, web]
    for: 2s
    max_for: 4s
    any_address: true`,
    );
    assert(!await pair.canReach(HERE, 22));
    await stage.send(...KEYS, "-A", "tcp/22", "-s");
    await stage.becomes(true, 22);
    assert(!await pair.canReach(HERE, 80), "the other service stays shut");
    assert(!await pair.canReach(NEIGHBOUR, 22), "and for others");
    await stage.becomes(false, 22);

    await stage.send(
      ...KEYS,
      "-A",
      "tcp/22,tcp/80",
      "-a",
      NEIGHBOUR,
      "-f",
      "60",
    );
    await stage.becomes(true, 22, NEIGHBOUR);
    await stage.becomes(true, 80, NEIGHBOUR);
    assert(!await pair.canReach(HERE, 22), "not for where it came from");
    assertStringIncludes(program.log, "(4s)");
    await stage.becomes(false, 22, NEIGHBOUR);

    const from = program.log.length;
    await stage.send(...KEYS, "-A", "tcp/23", "-s");
    await program.logged("a port that this client may not open", from);
    await stage.send(...KEYS, "-A", "tcp/22", "-s", "-U", "root");
    await stage.becomes(true, 22);
  },
);

staged("every HMAC and every mode of the real client opens", async (stage) => {
  const { pair } = stage;
  const names: { yaml: string; args: string[] }[] = [];
  const key = (seed: number, size: number) =>
    Uint8Array.from({ length: size }, (_, at) => at * 5 + seed).toBase64();
  const rijndael = (seed: number) => ["--key-base64-rijndael", key(seed, 32)];
  for (const [index, type] of DIGEST_TYPES.entries()) {
    const mac = key(100 + index, 64);
    names.push({
      yaml: `{ key_base64: "${
        key(index, 32)
      }", hmac_key_base64: "${mac}", hmac: ${type} }`,
      // deno-fmt-ignore
      args: [
        ...rijndael(index), "--use-hmac", "--key-base64-hmac", mac,
        "--hmac-digest-type", type.replace("-", "_"),
      ],
    });
  }
  for (const [index, mode] of CIPHER_MODES.entries()) {
    const seed = 30 + index;
    const bare = mode === "legacy";
    const mac = key(200 + index, 33);
    names.push({
      yaml: `{ key_base64: "${key(seed, bare ? 9 : 32)}", mode: ${mode}, ` +
        (bare ? "hmac: none }" : `hmac_key_base64: "${mac}" }`),
      args: [
        ...bare ? ["--key-base64-rijndael", key(seed, 9)] : rijndael(seed),
        "-M",
        bare ? mode : mode.toUpperCase(),
        ...bare ? [] : ["--use-hmac", "--key-base64-hmac", mac],
      ],
    });
  }
  const ports = names.map((_, index) => 1000 + index);
  await pair.serve("tcp", ...ports);
  await stage.serve(
    `services: { many: tcp/1000-1099 }`,
    names.map(({ yaml }, index) =>
      `  c${index}: { fwknop: ${yaml}, open: [tcp/${1000 + index}], for: 1m }`
    ).join("\n"),
  );
  for (const [index, { args }] of names.entries()) {
    const port = 1000 + index;
    assert(!await pair.canReach(HERE, port));
    await stage.send(...args, "-A", `tcp/${port}`, "-s");
    await stage.becomes(true, port);
  }
  assertStringIncludes(
    stage.program.log,
    "server.yaml: clients.c12.fwknop: has no HMAC",
  );
});

staged(
  "a copy is refused in any encoding, and after a restart",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22);
    await stage.serve(
      "services: { ssh: tcp/22 }",
      `${ALICE}    open: [ssh]
    for: 1s`,
    );
    const packet = await stage.send(...KEYS, "-A", "tcp/22", "-s");
    await stage.becomes(true, 22);
    await stage.becomes(false, 22);
    const last = packet.at(-1)!;
    const alphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const spare = alphabet[alphabet.indexOf(last) ^ 1]!;
    const copies = [
      packet,
      `${packet}=`,
      `${packet}\n`,
      packet.slice(0, -1) + spare,
      `U2FsdGVkX1${packet}`,
      packet.slice(0, -43),
    ];
    const sendAll = async () => {
      for (const copy of copies) {
        await stage.sendBytes(copy);
        await pass(100);
        assert(!await pair.canReach(HERE, 22), copy);
      }
    };
    await sendAll();
    await program.signal("SIGKILL");
    await program.serve();
    await sendAll();
    await stage.sendBytes("A".repeat(1400));
    await stage.sendBytes("/".repeat(3000));
    await stage.send(
      ...KEYS,
      "-A",
      "tcp/22",
      "-s",
      "--time-offset-plus",
      "1day",
    );
    await program.logged("ahead of this machine's clock");
    await stage.send(...KEYS, "-A", "tcp/22", "-s");
    await stage.becomes(true, 22);
  },
);

staged("commands run as they are written, and no others", async (stage) => {
  const { program } = stage;
  const made = join(program.folder, "made");
  await stage.serve(
    `services: { ssh: tcp/22 }
commands: { make: [touch, "${made}"], other: [touch, "${made}2"] }`,
    `${ALICE}    open: [ssh]
    run: [make]`,
  );
  const refused = [
    `touch ${made}; touch ${made}2`,
    `touch  ${made}`,
    `touch ${made}2`,
    "other",
    "$(touch x)",
    "make ",
  ];
  for (const command of refused) {
    const from = program.log.length;
    await stage.send(...KEYS, "-C", command, "-s");
    await program.logged("a command that this client may not run", from);
  }
  assert(!existsSync(made) && !existsSync(`${made}2`));
  for (const command of [`touch ${made}`, "make"]) {
    rmSync(made, { force: true });
    await stage.send(...KEYS, "-C", command, "-s");
    for (let waits = 0; !existsSync(made) && waits < 100; waits++) {
      await pass(STEP_MS);
    }
    assert(existsSync(made), command);
  }
});

staged(
  "ports are passed on where the policy lets them, and nowhere else",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22, 2222);
    await stage.serve(
      `services:
  ssh: tcp/22
  nas: { listen: tcp/8443, to: "${SERVER[4]}:2222" }
  other: { listen: tcp/8444, to: "${SERVER[4]}:2222" }`,
      `${ALICE}    open: [ssh, nas]
    for: 1s`,
    );
    const local = ["-A", "tcp/22", "--nat-local", "--nat-port"];
    const nat = (port: number, target: string) => //
    ["-A", `tcp/${port}`, "-N", target];
    const refused = [
      nat(8443, `${SERVER[4]}:22`),
      nat(8443, "198.51.100.1:2222"),
      nat(8444, `${SERVER[4]}:2222`),
      nat(22, `${SERVER[4]}:2222`),
      nat(9000, `${SERVER[4]}:2222`),
      [...local, "99"],
      [...local, "8443"],
      ["-A", "tcp/23", "--nat-local", "--nat-port", "9000"],
    ];
    for (const args of refused) {
      const from = program.log.length;
      await stage.send(...KEYS, ...args, "-s");
      await program.logged("this client may not have a port passed on", from);
    }
    for (const port of [22, 8443, 8444, 9000]) {
      assert(!await pair.canReach(HERE, port), `${port}`);
    }
    await stage.send(...KEYS, ...nat(8443, `${SERVER[4]}:2222`), "-s");
    await stage.becomes(true, 8443);
    assert(!await pair.canReach(NEIGHBOUR, 8443));
    await stage.becomes(false, 8443);
    await stage.send(...KEYS, ...local, "9000", "-s");
    await stage.becomes(true, 9000);
    assert(!await pair.canReach(HERE, 22), "through the asked port alone");
    assert(!await pair.canReach(NEIGHBOUR, 9000));
    await stage.becomes(false, 9000);
  },
);

staged(
  "`client add --dialect fwknop` prints what the real client takes",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22);
    await stage.serve("services: { ssh: tcp/22 }", `${ALICE}    open: [ssh]`);
    // deno-fmt-ignore
    const added = await program.admin(
      "client", "add", "phone", "--dialect", "fwknop", "--server", SERVER[4],
    );
    assertEquals(added.code, 0, added.stderr);
    const rc = join(program.folder, "fwknoprc");
    writeFileSync(rc, added.stdout, { mode: 0o600 });
    await program.signal("SIGHUP");
    await program.logged("reloaded");
    const said = await pair.exec(
      pair.client,
      ["fwknop", "--no-save-args", "--rc-file", rc, "-n", "phone"],
    );
    assertEquals(said.code, 0, said.stderr);
    await stage.becomes(true, 22);
  },
);

staged(
  "packets come by TCP and HTTP, too, and get no answer",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22);
    await stage.serve(
      "listen: [62201, tcp/62201, http/8080]\nservices: { ssh: tcp/22 }",
      `${ALICE}    open: [ssh]
    for: 1s`,
    );
    assertStringIncludes(program.log, "http/");
    for (const [kind, port] of [["tcp", 62201], ["http", 8080]] as const) {
      // deno-fmt-ignore
      await stage.send(
      ...KEYS, "-A", "tcp/22", "-s", "-P", kind, "-p", `${port}`,
    );
      await stage.becomes(true, 22);
      await stage.becomes(false, 22);
    }
    const ask = async (port: number, text: string) => {
      const script = `exec 3<>/dev/tcp/${SERVER[4]}/${port}; cat >&3; cat <&3`;
      const said = await pair.exec(
        pair.client,
        ["timeout", "4", "bash", "-c", script],
        text,
      );
      return said.stdout;
    };
    assertEquals(await ask(62201, "x".repeat(3000)), "");
    const head = "HTTP/1.1 404 Not Found";
    for (
      const text of ["GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "x".repeat(3000)]
    ) {
      assert((await ask(8080, text)).startsWith(head), text.slice(0, 20));
    }
    writeFileSync(
      join(program.folder, "profiles.yaml"),
      `home:
  server: ${SERVER[4]}:62201
  fwknop: { key_base64: "${KEY}", hmac_key_base64: "${MAC}" }
  open: tcp/22
`,
      { mode: 0o600 },
    );
    for (const kind of ["udp", "tcp", "http/8080"]) {
      const said = await program.client([
        "home",
        "--transport",
        kind,
        "--wait",
      ]);
      assertEquals([said.code, said.stderr], [0, ""], kind);
      await stage.becomes(false, 22);
    }
  },
);

staged("knock/1 goes by TCP and HTTP, too", async ({ pair, program }) => {
  await pair.serve("tcp", 22);
  program.configure(
    "listen: [62201, tcp/62201, http/8080]\nservices: { ssh: tcp/22 }",
    [{ name: "alice", policy: ["open: [ssh]", "for: 1s"] }],
  );
  await program.enrol("alice");
  await program.serve();
  for (const kind of ["tcp", "http/8080"]) {
    assert(!await pair.canReach(HERE, 22));
    const args = ["alice", "--open", "tcp/22", "--transport", kind, "--wait"];
    const said = await program.client(args);
    assertEquals([said.code, said.stderr], [0, ""], kind);
    for (let waits = 0; await pair.canReach(HERE, 22); waits++) {
      assert(waits < 100, "does not shut");
      await pass(STEP_MS);
    }
  }
});

staged(
  "OpenPGP: the real client opens ours, and ours fwknopd",
  async (stage) => {
    const { pair, program } = stage;
    await pair.serve("tcp", 22);
    // Sockets of gpg's agent want short paths.
    const home = (name: string) => join(program.folder, name);
    const gpg = (name: string, ...args: string[]) =>
      pair.onServer([
        "gpg",
        "--homedir",
        home(name),
        "--batch",
        "--quiet",
        ...args,
      ]);
    const homes = ["s", "c", "x"];
    const users: Record<string, string> = {};
    try {
      for (const name of homes) {
        mkdirSync(home(name), { mode: 0o700 });
        // deno-fmt-ignore
        await gpg(
        name, "--passphrase", "", "--quick-generate-key", `${name}@test`,
        "rsa2048", "default", "never",
      );
        const listed = await gpg(name, "--with-colons", "--fingerprint", name);
        users[name] = /^fpr:+([0-9A-F]{40}):/m.exec(listed)![1]!;
        // deno-fmt-ignore
        await gpg(
        name, "--passphrase", "", "--quick-add-key", users[name]!,
        "rsa2048", "encr", "never",
      );
        await gpg(name, "-o", home(`${name}.pub`), "--export", users[name]!);
      }
      await gpg("s", "--import", home("c.pub"), home("x.pub"));
      await gpg("c", "--import", home("s.pub"));
      await gpg("x", "--import", home("s.pub"));
      // fwknop, unlike ours, wants keys that the keyring's owner has signed.
      for (const [owner, other] of ["sc", "cs", "xs"]) {
        await gpg(owner!, "--yes", "--quick-lsign-key", users[other!]!);
      }
      await stage.serve(
        "services: { ssh: tcp/22 }",
        `  alice:
    fwknop:
      hmac_key_base64: "${MAC}"
      gpg: { home: "${
          home("s")
        }", recipient: "${users.s}", signers: ["${users.c}"] }
    open: [ssh]
    for: 2s`,
      );
      const sendAs = (name: string) =>
        // deno-fmt-ignore
        stage.send(
        "-g", "--gpg-home-dir", home(name), "--gpg-recipient-key", users.s!,
        "--gpg-signer-key", users[name]!, "--gpg-no-signing-pw",
        "--use-hmac", "--key-base64-hmac", MAC, "-A", "tcp/22", "-s",
      );
      const packet = await sendAs("c");
      await stage.becomes(true, 22);
      await stage.becomes(false, 22);
      await stage.sendBytes(packet);
      await sendAs("x");
      await pass(1500);
      assert(!await pair.canReach(HERE, 22), "a copy, and another signer");
      writeFileSync(
        join(program.folder, "profiles.yaml"),
        `home:
  server: ${SERVER[4]}:62201
  fwknop:
    hmac_key_base64: "${MAC}"
    gpg: { home: "${home("c")}", recipient: "${users.s}", signer: "${users.c}" }
  open: tcp/22
`,
        { mode: 0o600 },
      );
      const said = await program.client(["home", "--wait"]);
      assertEquals([said.code, said.stderr], [0, ""]);
      await program.signal("SIGTERM");
      await openRealDaemon(stage, [
        "GPG_ALLOW_NO_PW Y",
        `GPG_DECRYPT_ID ${users.s}`,
        `GPG_HOME_DIR ${home("s")}`,
        "GPG_REQUIRE_SIG Y",
        `GPG_FINGERPRINT_ID ${users.c}`,
        `HMAC_KEY_BASE64 ${MAC}`,
      ], ["-U"]);
    } finally {
      for (const name of homes) {
        await pair.onServer([
          "gpgconf",
          "--homedir",
          home(name),
          "--kill",
          "all",
        ]);
      }
    }
  },
  ["gpg", "fwknopd", "iptables"],
);

staged(
  "our client opens the real daemon, in both of its ways",
  async (stage) => {
    writeFileSync(
      join(stage.program.folder, "profiles.yaml"),
      `home:
  server: ${SERVER[4]}:62201
  fwknop: { key_base64: "${KEY}", hmac_key_base64: "${MAC}", hmac: sha512 }
  open: tcp/22
`,
      { mode: 0o600 },
    );
    const stanza = [
      `KEY_BASE64 ${KEY}`,
      `HMAC_KEY_BASE64 ${MAC}`,
      "HMAC_DIGEST_TYPE sha512",
    ];
    await openRealDaemon(stage, stanza, ["-U"]);
    await openRealDaemon(stage, stanza, ["-i", "eth0"]);
  },
  ["fwknopd", "iptables"],
);

/** Starts fwknopd, and has our client of profile "home" open tcp/22 of it. */
async function openRealDaemon(
  { pair, program }: Stage,
  stanza: readonly string[],
  args: readonly string[],
): Promise<void> {
  const folder = join(program.folder, `fwknopd${args.length}`);
  mkdirSync(folder, { mode: 0o700 });
  const access = join(folder, "access.conf");
  const config = join(folder, "fwknopd.conf");
  writeFileSync(access, ["SOURCE ANY", ...stanza, ""].join("\n"), {
    mode: 0o600,
  });
  const sleep = "PCAP_LOOP_SLEEP 10000;\n";
  writeFileSync(config, `FWKNOP_RUN_DIR ${folder};\n${sleep}`, { mode: 0o600 });
  // deno-fmt-ignore
  const daemon = pair.spawn(pair.server, [
    "fwknopd", "-f", "-v", "-c", config, "-a", access, ...args,
  ], "pipe");
  let said = "";
  daemon.stdout!.on("data", (text) => said += text);
  daemon.stderr!.on("data", (text) => said += text);
  const until = async (words: RegExp) => {
    for (let waits = 0; !words.test(said); waits++) {
      if (daemon.exitCode !== null || waits === 100) {
        throw new Error(`no ${words} in:\n${said.slice(-2000)}`);
      }
      await pass(STEP_MS * 2);
    }
  };
  await until(/Kicking off UDP server|Starting fwknopd main event loop/);
  const knock = await program.client(["home", "--from", NEIGHBOUR]);
  assertEquals([knock.code, knock.stderr], [0, ""]);
  await until(new RegExp(`for ${NEIGHBOUR} -> 0.0.0.0/0 tcp/22, expires`));
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGTERM");
  await ended;
}
