/** fwknop's clients in a configuration, and what their packets may do. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { parseConfig } from "../../lib/config/read.ts";
import type { Forward } from "../../lib/dialects/dialect.ts";
import {
  gpgText,
  readArmour,
  readGpgSigner,
  sealGpg,
} from "../../lib/dialects/fwknop/gpg.ts";
import { fwknopDialect } from "../../lib/dialects/fwknop/open.ts";
import { httpPath, readHttpPacket } from "../../lib/dialects/http.ts";
import { checkGpg, Gpg } from "../../lib/server/packet/gpg.ts";
import { judge } from "../../lib/server/packet/judge.ts";
import { Streams } from "../../lib/server/packet/streams.ts";
import { Counters } from "../../lib/server/report/counters.ts";
import {
  ConfigError,
  FailureError,
  SystemError,
} from "../../lib/values/errors.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import { makeClient, makeConfig, makeRequest } from "../fakes/fixtures.ts";
import { sceneAt } from "../fakes/packets.ts";

const KEY = new Uint8Array(32).fill(5).toBase64();
const MAC = new Uint8Array(64).fill(6).toBase64();
const FINGERPRINT = "A".repeat(40);

function config(...clients: string[]) {
  const entries = clients.map((fwknop, index) =>
    `  c${index}: { fwknop: ${fwknop}, open: [tcp/22] }\n`
  );
  return parseConfig(`clients:\n${entries.join("")}`, {
    file: "server.yaml",
    readKey: () => new Uint8Array(32).fill(1),
    readCode: () => new Uint8Array(20),
    stateFolder: () => "/var/lib/knock",
  });
}

const good = `{ key_base64: "${KEY}", hmac_key_base64: "${MAC}" }`;

test("parseConfig() reads fwknop's keys in every way of writing", () => {
  const { clients, warnings } = config(
    good,
    `{ key: "pass word", hmac_key: "another", hmac: md5, mode: ofb }`,
    `{ key_base64: "${KEY}", hmac: none, mode: legacy }`,
    `{ gpg: { home: /k, recipient: me, signers: ${FINGERPRINT} }, hmac_key: x }`,
  );
  const text = new TextEncoder();
  assertEquals(clients.map(({ fwknop }) => fwknop), [
    {
      key: new Uint8Array(32).fill(5),
      mode: "cbc",
      hmac: { type: "sha256", key: new Uint8Array(64).fill(6) },
    },
    {
      key: text.encode("pass word"),
      mode: "ofb",
      hmac: { type: "md5", key: text.encode("another") },
    },
    { key: new Uint8Array(32).fill(5), mode: "legacy", hmac: null },
    {
      gpg: { home: "/k", recipient: "me", signers: [FINGERPRINT] },
      hmac: { type: "sha256", key: text.encode("x") },
    },
  ]);
  assertEquals(warnings.length, 1);
  assert(warnings[0]!.startsWith("clients.c2.fwknop: has no HMAC: "));
});

const wrong: [name: string, clients: string[], want: string][] = [
  ["no keys", ["{}"], "clients.c0.fwknop.key_base64: is missing"],
  [
    "no HMAC key",
    [`{ key_base64: "${KEY}" }`],
    "clients.c0.fwknop.hmac_key_base64: is missing",
  ],
  [
    "a key that is not base64",
    [`{ key_base64: "se cret", hmac_key_base64: "${MAC}" }`],
    "clients.c0.fwknop.key_base64: must be base64 of 1 to 32 bytes, got 7 characters",
  ],
  [
    "a key that is too long",
    [`{ key_base64: "${MAC}", hmac_key: x }`],
    "clients.c0.fwknop.key_base64: must be base64 of 1 to 32 bytes, got 88 characters",
  ],
  [
    "an HMAC key that is too long",
    [`{ key: a, hmac_key: "${"x".repeat(129)}" }`],
    "clients.c0.fwknop.hmac_key: must be text of 1 to 128 bytes, in quotes, got 129 characters",
  ],
  [
    "a key that YAML takes for a number",
    ["{ key: 012345, hmac_key: x }"],
    "clients.c0.fwknop.key: must be text of 1 to 32 bytes, in quotes",
  ],
  [
    "an HMAC key that is the passphrase",
    [`{ key_base64: "${KEY}", hmac_key_base64: "${KEY}" }`],
    "clients.c0.fwknop.hmac_key_base64: must be another key than the passphrase",
  ],
  [
    "two clients with one HMAC key",
    [good, `{ key: other, hmac_key_base64: "${MAC}" }`],
    `clients.c1.fwknop.hmac_key_base64: must be an HMAC key of its own, got the same as client "c0"`,
  ],
  [
    "two clients without an HMAC and with one key",
    ["{ key: a, hmac: none }", "{ key: a, hmac: none }"],
    `clients.c1.fwknop.key_base64: must be a key of its own, got the same as client "c0"`,
  ],
  [
    "an unknown HMAC",
    [`{ key: a, hmac_key: b, hmac: sha224 }`],
    "clients.c0.fwknop.hmac: must be md5, sha1",
  ],
  [
    "an unknown mode",
    [`{ key: a, hmac_key: b, mode: gcm }`],
    "clients.c0.fwknop.mode: must be cbc, ctr",
  ],
  [
    "a signer without a whole fingerprint",
    [`{ gpg: { home: /k, recipient: me, signers: ABCD }, hmac: none }`],
    "clients.c0.fwknop.gpg.signers: must be the fingerprint",
  ],
  [
    "a passphrase beside gpg",
    [
      `{ key: a, gpg: { home: /k, recipient: me, signers: ${FINGERPRINT} }, hmac: none }`,
    ],
    "clients.c0.fwknop.key: must not be beside gpg",
  ],
];

for (const [name, clients, want] of wrong) {
  test(`parseConfig() refuses ${name}`, () => {
    const { lines } = assertThrows(
      () => config(...clients),
      ConfigError,
    ) as ConfigError;
    const all = lines.join("\n");
    assert(lines.some((line) => line.includes(want)), all);
    for (const secret of [KEY, MAC, "se cret"]) assert(!all.includes(secret));
  });
}

test("parseConfig() keeps services off the ports of connections", () => {
  const read = (listen: string, service: string) =>
    parseConfig(`listen: ${listen}\nservices: { s: ${service} }`, {
      file: "server.yaml",
      readKey: () => new Uint8Array(32).fill(1),
      readCode: () => new Uint8Array(20),
      stateFolder: () => "/var/lib/knock",
    });
  const { listen, streams } = read("[62201, tcp/62201, http/8080]", "tcp/22");
  assertEquals(listen, [{ host: "::", port: 62201 }]);
  assertEquals(streams, [
    { host: "::", port: 62201, transport: "tcp" },
    { host: "::", port: 8080, transport: "http" },
  ]);
  assertThrows(() => read("[1, http/8080]", "tcp/8080"), ConfigError);
  assertThrows(() => read("[tcp/80, http/80]", "tcp/22"), ConfigError);
  read("[1, http/8080]", "udp/8080");
});

const ports = (words: string) => [parsePortRange(words)!];
const machine = {
  ...makeConfig([]),
  services: [
    {
      name: "nas",
      ports: ports("tcp/8443"),
      to: { host: "10.0.0.5", port: 443 },
      masquerade: false,
      kill: false,
    },
    {
      name: "cam",
      ports: ports("tcp/8444"),
      to: { host: "10.0.0.6", port: 443 },
      masquerade: false,
      kill: false,
    },
  ],
  commands: new Map([
    ["restart", ["systemctl", "restart", "nginx"]],
    ["reboot", ["reboot"]],
  ]) as ReadonlyMap<string, readonly [string, ...string[]]>,
  ownAddresses: ["2001:db8::1", "192.0.2.1", "192.0.2.2"],
  taken: new Set<string>(),
};
const client = makeClient({
  open: [...ports("tcp/22"), ...ports("tcp/8443")],
  run: ["restart"],
});

const forwards: [Forward["kind"], string, number, string, string | null][] = [
  ["nat", "10.0.0.5", 443, "tcp/8443", ""],
  ["nat", "10.0.0.5", 444, "tcp/8443", null],
  ["nat", "10.0.0.6", 443, "tcp/8443", null],
  ["nat", "10.0.0.6", 443, "tcp/8444", null],
  ["nat", "10.0.0.5", 443, "tcp/22", null],
  ["nat", "10.0.0.5", 443, "udp/8443", null],
  ["nat", "127.0.0.1", 22, "tcp/9000", null],
  ["local", "home.example.org", 22, "tcp/9000", "192.0.2.1:22"],
  ["local", "192.0.2.2", 22, "tcp/9000", "192.0.2.2:22"],
  ["local", "192.0.2.1", 22, "tcp/22", ""],
  ["local", "192.0.2.1", 23, "tcp/9000", null],
  ["local", "192.0.2.1", 22, "tcp/1023", null],
  ["local", "192.0.2.1", 22, "tcp/8444", null],
  ["local", "192.0.2.1", 8443, "tcp/9000", null],
  ["local", "192.0.2.1", 22, "udp/9000", null],
];

for (const [kind, host, port, asked, want] of forwards) {
  test(`judge() decides on ${kind} ${asked} to ${host}:${port}`, () => {
    const request = makeRequest({
      dialect: "fwknop",
      ports: ports(asked),
      forward: { kind, host, port },
    });
    const verdict = judge(request, client, "203.0.113.9", START_MS, machine);
    if (want === null) {
      assertEquals(verdict, { ok: false, why: "forward" });
      return;
    }
    if (!verdict.ok) throw new Error(verdict.why);
    assertEquals(verdict.ports, ports(asked));
    const { to } = verdict;
    assertEquals(to ? `${to.host}:${to.port}` : "", want);
  });
}

test("judge() lets fwknop run what is written out to the letter", () => {
  const of = (command: string, dialect: "fwknop" | "knock" = "fwknop") => {
    const request = makeRequest({ dialect, action: "run", command });
    const verdict = judge(request, client, "203.0.113.9", START_MS, machine);
    return verdict.ok ? verdict.command : verdict.why;
  };
  assertEquals(of("restart"), "restart");
  assertEquals(of("systemctl restart nginx"), "restart");
  assertEquals(of("systemctl restart nginx", "knock"), "command");
  for (
    const command of [
      "reboot",
      "systemctl  restart nginx",
      "systemctl restart nginx ",
      "systemctl restart nginx; reboot",
      "systemctl restart nginx && reboot",
      "systemctl restart $(reboot)",
      "",
    ]
  ) assertEquals(of(command), "command", command);
});

test("readHttpPacket() reads fwknop's text and other packets' bytes", () => {
  const encode = (text: string) => new TextEncoder().encode(text);
  const bytes = Uint8Array.from({ length: 216 }, (_, at) => at * 7);
  const text = encode("/a+b".repeat(40));
  const request = (path: string, start = "/") =>
    encode(`GET ${start}${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  assertEquals(
    readHttpPacket(request(httpPath(bytes, false)))[0] as unknown,
    bytes,
  );
  for (const start of ["/", "http://example.org:8080/"]) {
    const readings = readHttpPacket(request(httpPath(text, true), start));
    assertEquals(readings.at(-1), text);
  }
  for (
    const bad of [
      "",
      "GET",
      "GET /\r\n",
      "POST /abc HTTP/1.1\r\n",
      "GET /a/b HTTP/1.1\r\n",
      "GET /a?b HTTP/1.1\r\n",
      "GET /abc HTTP/2\r\n",
      `GET /${"a".repeat(1501)} HTTP/1.1\r\n`,
      "GET /abc HTTP/1.1",
    ]
  ) assertEquals(readHttpPacket(encode(bad)), [], bad);
});

const STATUS = [
  "ENC_TO 1111111111111111 1 0",
  "BEGIN_DECRYPTION",
  "PLAINTEXT 62 1700000000 ",
  "NEWSIG c@test",
  "GOODSIG 2222222222222222 c@test",
  `VALIDSIG ${
    "B".repeat(40)
  } 2026-01-01 1700000000 0 4 0 1 8 00 ${FINGERPRINT}`,
  "DECRYPTION_OKAY",
  "GOODMDC",
  "END_DECRYPTION",
].map((line) => `[GNUPG:] ${line}`);

test("readGpgSigner() wants one message, encrypted, with one good signature", () => {
  assertEquals(readGpgSigner(STATUS.join("\n")), FINGERPRINT);
  for (
    const word of [
      "DECRYPTION_OKAY",
      "GOODMDC",
      "GOODSIG",
      "VALIDSIG",
      "NEWSIG",
    ]
  ) {
    const at = STATUS.findIndex((line) => line.includes(` ${word}`));
    const without = STATUS.toSpliced(at, 1);
    assertEquals(readGpgSigner(without.join("\n")), null, `without ${word}`);
    const twice = [...STATUS, STATUS[at]!];
    assertEquals(readGpgSigner(twice.join("\n")), null, `twice ${word}`);
  }
  const expired = STATUS.map((line) => line.replace("GOODSIG", "EXPKEYSIG"));
  assertEquals(readGpgSigner(expired.join("\n")), null);
});

test("readArmour() reads what gpg writes, and nothing else", () => {
  const head = "-----BEGIN PGP MESSAGE-----";
  const tail = "-----END PGP MESSAGE-----";
  assertEquals(
    readArmour(`${head}\n\nAQID\nBA==\n=abcd\n${tail}\n`) as unknown,
    Uint8Array.of(1, 2, 3, 4),
  );
  for (
    const text of ["", head, `${head}\n\n!\n${tail}\n`, `\n\nAQID\n${tail}`]
  ) {
    assertEquals(readArmour(text), null);
  }
});

test("Gpg runs two at a time, lets some wait, and no more", async () => {
  const fake = new FakeRuntime();
  let running = 0, most = 0;
  fake.programs.set("gpg", async () => {
    most = Math.max(most, ++running);
    await fake.sleep(1000);
    running--;
    return { code: 0, stdout: "text", stderr: STATUS.join("\n") };
  });
  const gpg = new Gpg(fake);
  const message = new Uint8Array(300);
  const opened = await Promise.all(
    Array.from({ length: 30 }, () => gpg.open("/k", message)),
  );
  assertEquals(most, 2);
  assertEquals(opened.filter((one) => one === "busy").length, 30 - 18);
  assertEquals(await gpg.open("/k", message) !== "busy", true);
});

test("checkGpg() says what is missing", async () => {
  const fake = new FakeRuntime();
  const gpg = { home: "/k", recipient: "me", signers: [FINGERPRINT] };
  const fwknop = { gpg, hmac: null };
  const all = makeConfig([makeClient({ fwknop })]);
  const said = async () => {
    try {
      await checkGpg(fake, all);
      return "";
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      return error.message;
    }
  };
  fake.programs.set("gpg", () => {
    throw new SystemError("ENOENT", "no such file");
  });
  assertEquals(
    await said(),
    'client "alice": gpg cannot be run: no such file',
  );
  fake.programs.set("gpg", (argv) => ({
    code: argv.includes("--list-secret-keys") ? 2 : 0,
  }));
  assertEquals(
    await said(),
    'client "alice": there is no secret key "me" in the keyring /k',
  );
  fake.programs.set("gpg", () => ({ code: 0 }));
  assertEquals(await said(), "");
  await checkGpg(new FakeRuntime(), makeConfig([makeClient()]));
});

test("Streams takes a packet, answers nothing but 404, and bounds all", async () => {
  const fake = new FakeRuntime();
  const got: string[] = [];
  const streams = new Streams(fake, new Counters(), (readings) => {
    for (const one of readings) got.push(new TextDecoder().decode(one));
  });
  const tcp = { host: "127.0.0.1", port: 7, transport: "tcp" } as const;
  const http = { ...tcp, port: 8, transport: "http" } as const;
  const listeners = [await streams.listen(tcp), await streams.listen(http)];
  const ask = async (port: number, text: string, finish = true) => {
    const stream = await fake.connectStream({ host: "127.0.0.1", port });
    await stream.write(new TextEncoder().encode(text));
    if (finish) await stream.finish().catch(() => {});
    let answer = "";
    for (;;) {
      const bytes = await stream.read().catch(() => null);
      if (!bytes) break;
      answer += new TextDecoder().decode(bytes);
    }
    stream.close();
    return answer;
  };
  assertEquals(await ask(7, "packet"), "");
  const answer = await ask(8, "GET /packet HTTP/1.1\r\n\r\n", false);
  assert(answer.startsWith("HTTP/1.1 404 Not Found\r\n"));
  assertEquals(got.filter((one) => one === "packet").length, 2);
  assertEquals(await ask(8, "nonsense"), answer);
  assertEquals(await ask(7, "x".repeat(5000)), "");
  assertEquals(got.at(-1)!.length, 2048);
  await Promise.all(listeners.map((listener) => listener.close()));
});

test("fwknopDialect() opens OpenPGP later, by the HMAC, gpg and its signer", async () => {
  const hmac = { type: "sha256", key: new Uint8Array(64).fill(6) } as const;
  const gpg = { home: "/k", recipient: "me", signers: [FINGERPRINT] };
  const text = gpgText(
    {
      action: "open",
      ports: ports("tcp/22"),
      command: null,
      seconds: 9,
      address: null,
      forward: null,
      user: "bob",
      checksum: "sha256",
    },
    "1234567890123456",
    START_MS,
  );
  // What every message to an RSA key starts with; the rest is gpg's affair.
  const message = new Uint8Array(400).fill(7);
  message.set([0x85, 0x01, 0x0c]);
  const packet = sealGpg({ hmac }, message);
  let runs = 0;
  const dialect = (signer: string | null | "busy", own: typeof hmac | null) =>
    fwknopDialect([{ name: "bob", gpg, hmac: own }], (_home, opened) => {
      runs++;
      assertEquals(opened, message);
      return Promise.resolve(
        signer === null || signer === "busy" ? signer : { text, signer },
      );
    });
  const scene = sceneAt(START_MS);
  const open = async (signer: string | null | "busy") => {
    const opened = dialect(signer, hmac).open(packet, scene);
    if (opened.ok || !opened.later) throw new Error("not later");
    return await opened.later();
  };
  const opened = await open(FINGERPRINT);
  if (!opened.ok) throw new Error(opened.why);
  assertEquals(opened.request.client, "bob");
  assertEquals(opened.request.ports, ports("tcp/22"));
  for (
    const [signer, why] of [
      [null, "cipher"],
      ["busy", "busy"],
      ["B".repeat(40), "signature"],
    ] as const
  ) {
    const refused = await open(signer);
    assertEquals(refused.ok ? "" : refused.why, why);
  }
  runs = 0;
  const at = (changed: Uint8Array, over = {}) => {
    const opened = dialect(FINGERPRINT, hmac) //
      .open(changed, { ...scene, ...over });
    if (opened.ok || opened.later) return "later";
    return opened.why;
  };
  assertEquals(at(packet.with(50, packet[50]! === 65 ? 66 : 65)), "mac");
  assertEquals(at(packet, { seen: () => true }), "replay");
  assertEquals(at(packet, { mayCost: () => false }), "rate");
  assertEquals(runs, 0, "gpg is not run for any of them");
  const bare = dialect(FINGERPRINT, null).open(
    sealGpg({ hmac: null }, message),
    scene,
  );
  if (bare.ok || !bare.later) throw new Error("not later");
  assert((await bare.later()).ok);
});
