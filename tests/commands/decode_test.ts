import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { run as importProfile } from "../../lib/commands/profiles/import.ts";
import { run } from "../../lib/commands/tools/decode.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { encodeKnock, type Knock } from "../../lib/dialects/knock1/payload.ts";
import { windowOf } from "../../lib/dialects/knock1/tag.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { FakeRuntime, START_MS } from "../fakes/fake_runtime.ts";
import vectors from "../vectors/knock1.json" with { type: "json" };
import { sealKnock, sealPayload } from "../../lib/dialects/knock1/seal.ts";

const FILE = "/etc/knock/server.yaml";
const hex = (text: string) => Uint8Array.fromHex(text);
const text64 = formatBase64url;

interface Decoded {
  readonly dialect: string | null;
  readonly verdict: string;
  readonly client: string | null;
  // deno-lint-ignore no-explicit-any -- what is looked at is compared
  readonly request: any;
  // deno-lint-ignore no-explicit-any -- the same
  readonly would: any;
  readonly profile?: string | null;
  readonly fields?: Record<string, string>;
  readonly steps: readonly { ok: boolean; text: string }[];
  readonly encoding: string;
  readonly size: number;
}

interface Given {
  readonly args?: readonly string[];
  readonly clients?: string;
  readonly serverKey?: Uint8Array;
  readonly files?: Record<string, string>;
}

async function decode(
  stdin: string | Uint8Array,
  { args = [], clients = CLIENTS, serverKey = SERVER, files }: Given = {},
): Promise<[status: number, decoded: Decoded]> {
  const runtime = new FakeRuntime({
    userId: 0,
    stdin,
    files: files ?? {
      [FILE]: `clients:\n${clients}`,
      "/etc/knock/server.key": `${text64(serverKey)}\n`,
    },
  });
  const status = await run([...args], runtime);
  return [status, JSON.parse(runtime.stdout)];
}

function entry(
  name: string,
  key: Uint8Array,
  psk: Uint8Array,
  policy = "",
): string {
  return `  ${name}:\n    knock: { key: "${text64(key)}", psk: "${
    text64(psk)
  }" }\n${policy && `    ${policy}\n`}`;
}

// --- a server of our own

const SERVER = new Uint8Array(32).fill(1);
const ALICE = new Uint8Array(32).fill(2);
const PSK = new Uint8Array(32).fill(3);
const CLIENTS = entry(
  "alice",
  publicKeyOf(ALICE),
  PSK,
  "open: [tcp/22]\n    from: [192.0.2.0/24]\n    any_address: true",
);
const KEYS = {
  server: publicKeyOf(SERVER),
  key: ALICE,
  psk: PSK,
  ephemeral: new Uint8Array(32).fill(4),
};
const KNOCK: Omit<Knock, "timestampMs"> = {
  action: "open",
  ports: [parsePortRange("tcp/22")!],
  command: null,
  seconds: 0,
  address: "192.0.2.9",
  code: null,
  wantsReply: true,
};
const seal = (over: Partial<Knock> = {}, keys = KEYS, ms = START_MS) =>
  sealKnock(keys, { ...KNOCK, ...over }, ms).packet;
const GOOD = seal();
const flip = (packet: Uint8Array, at: number) =>
  packet.with(at, packet[at]! ^ 1);

// --- vectors of another implementation

vectors.forEach((vector, index) => {
  test(`run() decodes vector ${index}, ${vector.request.action}`, async () => {
    const clients = entry("phone", hex(vector.client_public), hex(vector.psk));
    const serverKey = hex(vector.server_private);
    const args = ["--at", String(vector.now_ms)];
    const [status, decoded] = await decode(vector.packet, {
      args,
      clients,
      serverKey,
    });
    const { action, items, seconds, timestamp_ms, source } = vector.request;
    assertEquals(
      [status, decoded.dialect, decoded.verdict, decoded.client],
      [0, "knock", "request", "phone"],
    );
    assertEquals(decoded.request, {
      action,
      ports: Array.isArray(items) ? items : [],
      command: Array.isArray(items) ? null : items,
      seconds,
      timestamp_ms,
      address: source,
      reply_wanted: vector.request.reply,
      one_time_code_present: vector.request.one_time_code !== null,
    });
    assertEquals(decoded.encoding, "hex");
  });
});

// --- verdicts

const stranger = { ...KEYS, key: new Uint8Array(32).fill(9) };
const wrongPsk = { ...KEYS, psk: new Uint8Array(32).fill(9) };
const elsewhere = {
  ...KEYS,
  server: publicKeyOf(new Uint8Array(32).fill(8)),
};
const meaningless = sealPayload(
  KEYS,
  encodeKnock({ ...KNOCK, timestampMs: START_MS }).with(0, 9),
  windowOf(START_MS),
).packet;
const stale = sealPayload(
  KEYS,
  encodeKnock({ ...KNOCK, timestampMs: START_MS - 150_000 }),
  windowOf(START_MS),
).packet;
const old = seal({}, KEYS, START_MS - 3_600_000);
const ahead = seal({}, KEYS, START_MS + 86_400_000);

const verdicts: [
  name: string,
  packet: Uint8Array,
  verdict: string,
  client: string | null,
  words: RegExp,
][] = [
  ["a good packet", GOOD, "request", "alice", /proves to be from "alice"/],
  ["a byte too few", GOOD.subarray(1), "length", null, /has 215 bytes/],
  ["a byte too many", new Uint8Array(217), "length", null, /has 217 bytes/],
  ["another server's", seal({}, elsewhere), "tag", null, /another server/],
  ["a bit of the tag", flip(GOOD, 0), "tag", null, /another server/],
  ["a packet of an hour ago", old, "tag", "alice", /60 min ago/],
  ["a packet of tomorrow", ahead, "tag", "alice", /1440 min ahead/],
  ["a bit of the seal", flip(GOOD, 60), "mac", null, /mac does not hold/],
  ["a bit of the mac", flip(GOOD, 215), "mac", null, /mac does not hold/],
  [
    "a stranger",
    seal({}, stranger),
    "unknown_client",
    null,
    new RegExp(text64(publicKeyOf(stranger.key))),
  ],
  ["another psk", seal({}, wrongPsk), "noise", "alice", /another psk/],
  ["no meaning", meaningless, "payload", "alice", /no meaning/],
  ["a stale stamp", stale, "time", "alice", /150 s behind .* max_skew, 120 s/],
];

for (const [name, packet, verdict, client, words] of verdicts) {
  test(`run() says "${verdict}" of ${name}`, async () => {
    const [status, decoded] = await decode(packet);
    assertEquals(
      [status, decoded.verdict, decoded.client],
      [verdict === "request" ? 0 : 1, verdict, client],
    );
    const told = decoded.steps.map(({ text }) => text);
    assert(told.some((text) => words.test(text)), told.join("\n"));
    assertEquals(decoded.steps.every(({ ok }) => ok), verdict === "request");
  });
}

test("run() tells what a packet of another time asked", async () => {
  const [, decoded] = await decode(old);
  assertEquals(decoded.request.ports, ["tcp/22"]);
  assertEquals(decoded.request.timestamp_ms, START_MS - 3_600_000);
  const at = new Date(START_MS - 3_600_000).toISOString();
  for (const time of [at, String(START_MS - 3_600_000)]) {
    const [status, then] = await decode(old, { args: ["--at", time] });
    assertEquals([status, then.verdict], [0, "request"]);
  }
});

// --- the judge

const policies: [
  name: string,
  packet: Uint8Array,
  args: readonly string[],
  would: unknown,
][] = [
  ["its own address", GOOD, [], {
    granted: { address: "192.0.2.9", ports: ["tcp/22"], seconds: 30 },
  }],
  ["an unknown source", seal({ address: null }), [], {
    granted: { address: null, ports: ["tcp/22"], seconds: 30 },
  }],
  ["a known source", seal({ address: null }), ["--from", "192.0.2.7"], {
    granted: { address: "192.0.2.7", ports: ["tcp/22"], seconds: 30 },
  }],
  ["another source", seal({ address: null }), ["--from", "2001:db8::1"], {
    refused: "source",
    reason: "the address is not one of this client's",
  }],
  ["another port", seal({ ports: [parsePortRange("udp/53")!] }), [], {
    refused: "ports",
    reason: "a port that this client may not open",
  }],
];

for (const [name, packet, args, would] of policies) {
  test(`run() asks the judge about ${name}`, async () => {
    const [status, decoded] = await decode(packet, { args });
    assertEquals([status, decoded.verdict], [0, "request"]);
    assertEquals(decoded.would, would);
  });
}

// --- how it is written

const LINE = GOOD.toHex();
const STANDARD = GOOD.toBase64();
const encodings: [
  name: string,
  stdin: string | Uint8Array,
  encoding: string,
  args?: string[],
][] = [
  ["raw bytes", GOOD, "raw"],
  ["raw bytes, asked for", GOOD, "raw", ["--raw"]],
  ["raw bytes and a newline", new Uint8Array([...GOOD, 10]), "raw"],
  ["hexadecimal", `${LINE}\n`, "hex"],
  ["HEXADECIMAL, asked for", LINE.toUpperCase(), "hex", ["--hex"]],
  ["0x", `0x${LINE}`, "hex"],
  ["pairs", LINE.match(/../g)!.join(":"), "hex"],
  ["lines", LINE.match(/.{1,32}/g)!.join("\n"), "hex"],
  ["base64", `${STANDARD}\n`, "base64"],
  ["base64 in lines", STANDARD.match(/.{1,76}/g)!.join("\r\n"), "base64"],
  ["base64url", text64(GOOD), "base64", ["--base64"]],
];

for (const [name, stdin, encoding, args = []] of encodings) {
  test(`run() reads ${name}`, async () => {
    const [status, decoded] = await decode(stdin, { args });
    assertEquals(
      [status, decoded.verdict, decoded.encoding, decoded.size],
      [0, "request", encoding, 216],
    );
  });
}

const FORMS: [name: string, packet: string | Uint8Array, dialect: string][] = [
  ["openme", new Uint8Array(165).fill(1), "openme"],
  ["fwknop", "8".repeat(224), "fwknop"],
  ["openspa", new Uint8Array(528).fill(0x20).with(2, 1), "openspa"],
];

for (const [name, packet, dialect] of FORMS) {
  test(`run() knows the form of ${name}, which nobody uses`, async () => {
    const [status, decoded] = await decode(packet);
    assertEquals([status, decoded.dialect, decoded.verdict], [
      1,
      dialect,
      "form",
    ]);
  });
}

test("run() never throws because of a packet, and prints no secret", async () => {
  const secrets = [text64(PSK), text64(SERVER), PSK.toHex()];
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      async (bytes) => {
        const [status, decoded] = await decode(bytes);
        assertEquals(status, 1);
        const said = JSON.stringify(decoded);
        assert(!secrets.some((secret) => said.includes(secret)));
      },
    ),
    { numRuns: 50 },
  );
});

// --- with profiles alone

const LINE_OF_HOME = formatEnrolment({
  name: "home",
  host: "home.example.org",
  port: 62201,
  server: KEYS.server,
  key: ALICE,
  psk: PSK,
});

const seen: [packet: Uint8Array, verdict: string, profile: string | null][] = [
  [GOOD, "sealed", "home"],
  [flip(GOOD, 60), "mac", "home"],
  [old, "tag", "home"],
  [seal({}, elsewhere), "tag", null],
  [GOOD.subarray(2), "length", null],
];

for (const [packet, verdict, profile] of seen) {
  test(`run() with profiles says "${verdict}" for ${profile}`, async () => {
    const PROFILES = "/home/alice/profiles.yaml";
    const writer = new FakeRuntime();
    await importProfile([LINE_OF_HOME, "--profiles", PROFILES], writer);
    const [status, decoded] = await decode(packet, {
      args: ["--profiles", PROFILES],
      files: { [PROFILES]: writer.files.readText(PROFILES) },
    });
    assertEquals([status, decoded.verdict, decoded.profile], [
      1,
      verdict,
      profile,
    ]);
    assertEquals(decoded.request, null);
  });
}

// --- mistakes

const mistakes: [args: string[], stdin: string | Uint8Array, words: string][] =
  [
    [[], "", "there is no packet on standard input"],
    [["--hex", "--raw"], GOOD, "--hex and --raw exclude each other"],
    [["--hex"], GOOD, "must be hex"],
    [["--at", "noon"], GOOD, "--at must be"],
    [["--from", "home"], GOOD, '--from must be an IP address, got "home"'],
    [[], new Uint8Array(70_000), "standard input must be one packet"],
  ];

for (const [args, stdin, words] of mistakes) {
  test(`run() refuses ${args.join(" ")}: ${words}`, async () => {
    await assertRejects(() => decode(stdin, { args }), UsageError, words);
  });
}

test("run() without a configuration or profiles says so", async () => {
  await assertRejects(
    () => decode(GOOD, { files: {} }),
    UsageError,
    "there is no configuration",
  );
});
