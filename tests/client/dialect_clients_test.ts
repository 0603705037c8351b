/** Clients of other dialects: their files imported, their packets sent. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { readProfiles } from "../../lib/client/profile/file.ts";
import { run as runClose } from "../../lib/commands/knock/close.ts";
import { run as runSend } from "../../lib/commands/knock/send.ts";
import { run as runImport } from "../../lib/commands/profiles/import.ts";
import { run as runProfiles } from "../../lib/commands/profiles/profiles.ts";
import {
  formatOpenmeProfiles,
  formatOpenmeQr,
  type OpenmeProfile,
} from "../../lib/dialects/openme/enrol.ts";
import { formatOspa } from "../../lib/dialects/openspa/enrol.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
} from "../../lib/dialects/crypto/rsa.ts";
import type { Answer, Dialect, Opened } from "../../lib/dialects/dialect.ts";
import { openmeDialect } from "../../lib/dialects/openme/open.ts";
import { parseAdkSecret } from "../../lib/dialects/openspa/adk.ts";
import { openspaDialect } from "../../lib/dialects/openspa/open.ts";
import { nearestAddress } from "../../lib/dialects/openspa/seal.ts";
import { parseUuid } from "../../lib/values/bytes.ts";
import { OperatorError, UsageError } from "../../lib/values/errors.ts";
import { type FakeOptions, FakeRuntime } from "../fakes/fake_runtime.ts";
import {
  CLIENT_PRIVATE_PEM,
  CLIENT_PUBLIC_PEM,
  RSA_PRIVATE_PEM,
  RSA_PUBLIC_PEM,
} from "../fakes/rsa.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";
const SERVER = "192.0.2.99";
const OWN = "192.0.2.10";
const KEY = new Uint8Array(32).fill(5);
const SEED = new Uint8Array(32).fill(6);
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const ADK = "7O4ZIRI";

const home: OpenmeProfile = {
  name: "home",
  server: { host: SERVER, port: 54154 },
  serverKey: publicKeyOf(KEY),
  seed: SEED,
  key: verifyingKeyOf(SEED),
  postKnock: null,
};
const office = { ...home, name: "office", postKnock: "ssh office" };

const OSPA = formatOspa({
  uuid: UUID,
  server: { host: SERVER, port: 22211 },
  adkSecret: ADK,
  privateKey: CLIENT_PRIVATE_PEM,
  publicKey: CLIENT_PUBLIC_PEM,
  serverKey: RSA_PUBLIC_PEM,
});

const openme = openmeDialect(KEY, [{ name: "tablet", key: home.key }]);
const openspa = openspaDialect(
  parseRsaPrivateKey(RSA_PRIVATE_PEM)!,
  [{
    name: "box",
    uuid: parseUuid(UUID)!,
    key: parseRsaPublicKey(CLIENT_PUBLIC_PEM)!,
  }],
  parseAdkSecret(ADK),
);

/** A machine that has imported a text, and a server that opens its packets. */
async function scene(
  text: string,
  dialect: Dialect,
  options: FakeOptions & { answer?: Partial<Answer> } = {},
) {
  const fake = new FakeRuntime({
    files: { "/tmp/box.ospa": text },
    ownAddresses: ["10.9.9.9", OWN, "2001:db8::1"],
    terminals: ["out"],
    ...options,
  });
  await runImport(["/tmp/box.ospa"], fake);
  const opened: Opened[] = [];
  fake.network.world = ({ bytes, atMs }, count) => {
    const one = dialect.open(bytes, {
      nowMs: atMs,
      seen: () => false,
      mayCost: () => true,
    });
    opened.push(one);
    if (!one.ok || !one.request.wantsReply || !options.answer) return [];
    const answer: Answer = {
      status: "done",
      count: 1,
      seconds: 60,
      timeMs: atMs,
      address: OWN,
      ...options.answer,
    };
    return [{ bytes: one.seal(answer, new Uint8Array(32).fill(count)) }];
  };
  const requests = () =>
    opened.map((one) => {
      if (!one.ok) throw new Error(one.why);
      return one.request;
    });
  return { fake, requests };
}

const forms: [name: string, text: string, names: string[]][] = [
  ["openme's file", formatOpenmeProfiles([home, office]), ["home", "office"]],
  ["the JSON of openme's QR code", formatOpenmeQr(home), ["home"]],
  ["an OSPA file", OSPA, ["box"]],
];
for (const [name, text, names] of forms) {
  test(`knock import stores what is in ${name}`, async () => {
    const fake = new FakeRuntime({ files: { "/tmp/box.ospa": text } });
    assertEquals(await runImport(["/tmp/box.ospa"], fake), 0);
    assertEquals([...readProfiles(fake, FILE).keys()], names);
    for (const secret of [SEED.toBase64(), ADK, "PRIVATE"]) {
      assert(!fake.stderr.includes(secret));
    }
    assertEquals(fake.files.stat(FILE)!.mode! & 0o777, 0o600);
  });
}

test("knock import tells what of openme's file it leaves", async () => {
  const text = formatOpenmeProfiles([office]);
  const fake = new FakeRuntime({ stdin: text });
  await runImport(["-", "--name", "work"], fake);
  assertEquals([...readProfiles(fake, FILE).keys()], ["work"]);
  assertStringIncludes(fake.stderr, 'post_knock of "office"');
});

const refused: [name: string, text: string, args: string[], words: string][] = [
  ["a name for two", formatOpenmeProfiles([home, office]), [
    "--name",
    "x",
  ], "has 2"],
  ["a key", OSPA, ["--key", "/k"], "is for an enrolment"],
  [
    "no private key",
    formatOpenmeProfiles([{ ...home, seed: null }]),
    [],
    "has no private key",
  ],
  ["a broken OSPA file", OSPA.replace(UUID, "no"), [], "clientUUID"],
];
for (const [name, text, args, words] of refused) {
  test(`knock import refuses another tool's file with ${name}`, async () => {
    const fake = new FakeRuntime({ files: { "/tmp/a": text } });
    const error = await assertRejects(
      () => runImport(["/tmp/a", ...args], fake),
      OperatorError,
      words,
    );
    assert(!error.message.includes("BEGIN"));
    assertEquals(fake.files.stat(FILE), null);
  });
}

test("knock profiles tells the dialects", async () => {
  const { fake } = await scene(OSPA, openspa);
  await runProfiles([], fake);
  assertStringIncludes(fake.stdout, `box   ${SERVER}:22211  openspa`);
});

test("knock PROFILE sends openme's packet, once, and says that it is sent", async () => {
  const { fake, requests } = await scene(formatOpenmeQr(home), openme);
  assertEquals(await runSend(["home"], fake), 0);
  assertEquals(fake.network.sent.length, 1);
  const [request] = requests();
  assertEquals([request!.client, request!.address], ["tablet", null]);
  assertEquals(
    fake.stdout,
    `sent to ${SERVER}:54154; its server does not answer\n`,
  );
  const args = ["--from", "203.0.113.9", "--open", "tcp/22", "--quiet"];
  await runSend(["home", ...args], fake);
  assertEquals(requests()[1]!.address, "203.0.113.9");
  assertEquals(fake.stdout.split("\n").length, 2);
});

test("knock PROFILE asks for OpenSPA's port, and tells for how long it is open", async () => {
  const { fake, requests } = await scene(OSPA, openspa, { answer: {} });
  assertEquals(await runSend(["box", "--open", "tcp/22"], fake), 0);
  const [request] = requests();
  const { address, target, ports } = request!;
  assertEquals([address, target], [OWN, SERVER]);
  assertEquals(ports, [{ protocol: "tcp", first: 22, last: 22 }]);
  assertStringIncludes(fake.stdout, `open tcp/22 for ${OWN} until `);
});

test("knock PROFILE fails when OpenSPA's server says no, or nothing", async () => {
  // Its authorization command may answer 0.
  const no = await scene(OSPA, openspa, { answer: { seconds: 0 } });
  await assertRejects(
    () => runSend(["box", "--open", "tcp/22"], no.fake),
    OperatorError,
    "refused: ",
  );
  const silent = await scene(OSPA, openspa);
  await assertRejects(
    () => runSend(["box", "--open", "tcp/22"], silent.fake),
    OperatorError,
    "no answer",
  );
  assertEquals(silent.requests().length, 3);
  const stamps = silent.requests().map(({ identity }) => identity.toHex());
  assertEquals(new Set(stamps).size, 3);
});

const inexpressible: [text: string, args: string[], words: string][] = [
  [formatOpenmeQr(home), ["home", "--for", "1h"], "for how long"],
  [OSPA, ["box"], "must name one port"],
  [OSPA, ["box", "--open", "tcp/22,tcp/80"], "must name one port"],
  [OSPA, ["box", "--open", "tcp/22", "--for", "1h"], "for how long"],
];
for (const [text, args, words] of inexpressible) {
  test(`knock ${args.join(" ")} is refused: ${words}`, async () => {
    const { fake } = await scene(text, openme);
    await assertRejects(() => runSend(args, fake), UsageError, words);
    assertEquals(fake.network.sent.length, 0);
  });
}

test("knock close is not of other dialects", async () => {
  for (const text of [formatOpenmeQr(home), OSPA]) {
    const { fake } = await scene(text, openme, {});
    const name = text === OSPA ? "box" : "home";
    await assertRejects(() => runClose([name], fake), UsageError, "only open");
  }
});

test("knock PROFILE tells when OpenSPA's server sees another address", async () => {
  const behind = { ownAddresses: ["192.168.1.5"] };
  const text = OSPA.replaceAll(SERVER, "8.8.8.8");
  const { fake } = await scene(text, openspa, behind);
  await assertRejects(
    () => runSend(["box", "--open", "tcp/22"], fake),
    OperatorError,
    "--from ADDRESS",
  );
});

const nearest: [own: string[], server: string, wanted: string | null][] = [
  [["10.0.0.2", "192.0.2.7"], "192.0.2.200", "192.0.2.7"],
  [["10.0.0.2", "2001:db8::5"], "2001:db8:1::1", "2001:db8::5"],
  [["10.0.0.2"], "2001:db8:1::1", null],
  [["10.0.0.2"], "127.0.0.1", "127.0.0.1"],
  [["10.0.0.2"], "::1", "::1"],
  [[], "192.0.2.1", null],
  [["192.0.2.1"], "192.0.2.1", "192.0.2.1"],
];
for (const [own, server, wanted] of nearest) {
  test(`nearestAddress() of ${own} to ${server} is ${wanted}`, () => {
    assertEquals(nearestAddress(own, server), wanted);
  });
}
