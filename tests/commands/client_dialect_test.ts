/** `knock client add --dialect`: what it writes is read by the other side. */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { test } from "node:test";
import { run } from "../../lib/commands/enrol/client.ts";
import { formatQr } from "../../lib/commands/enrol/words.ts";
import {
  formatOpenmeQr,
  parseOpenmeProfiles,
} from "../../lib/dialects/openme/enrol.ts";
import { parseOspa } from "../../lib/dialects/openspa/enrol.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import { formatUuid } from "../../lib/values/bytes.ts";
import { OperatorError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { RSA_PUBLIC_PEM } from "../fakes/rsa.ts";

const FILE = "/etc/knock/server.yaml";
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const TEXT = `# mine
listen: [62201, 54154, 22211]
services: { ssh: tcp/22 }
clients: {}
`;

function machine(text = TEXT): FakeRuntime {
  return new FakeRuntime({
    env: { KNOCK_CONFIG: FILE },
    files: { [FILE]: text, "/etc/knock/server.key": `${KEY}\n` },
  });
}

test("knock client add --dialect openme prints the client file", async () => {
  const fake = machine();
  const args = [
    "add",
    "tablet",
    "--dialect",
    "openme",
    "--server",
    "a.example",
  ];
  assertEquals(await run(args, fake), 0);
  const config = loadConfig(fake, FILE);
  const [profile, ...more] = parseOpenmeProfiles(fake.stdout, "out");
  assertEquals(more, []);
  assertEquals(profile!.name, "default", "which openme knock takes");
  assertStringIncludes(fake.stderr, "~/.openme/config.yaml");
  assertStringIncludes(fake.stderr, "type: openme knock\n");
  assertEquals(profile!.server, { host: "a.example", port: 54154 });
  assertEquals(profile!.serverKey, publicKeyOf(config.openme.key!));
  assertEquals(config.clients[0]!.openme!.key, profile!.key);
  assertEquals(config.clients[0]!.knock, null);
  assert(fake.files.readText(FILE).startsWith("# mine\n"));
  assertEquals(
    fake.files.stat("/etc/knock/openme.key")!.mode! & 0o777,
    0o600,
  );
  assertStringIncludes(fake.stderr, "made the key /etc/knock/openme.key");
});

test("knock client add --dialect openme --qr draws what its apps scan", async () => {
  const fake = machine();
  await run(["add", "tablet", "--dialect", "openme", "--qr"], fake);
  const [profile] = parseOpenmeProfiles(fake.stdout, "out");
  assertStringIncludes(
    fake.stderr,
    formatQr(formatOpenmeQr(profile!), false),
  );
});

test("knock client add --dialect openme takes a client's own key", async () => {
  const fake = machine();
  const key = new Uint8Array(32).fill(7).toBase64();
  await run(["add", "tablet", "--dialect", "openme", "--key", key], fake);
  const [profile] = parseOpenmeProfiles(fake.stdout, "out");
  assertEquals([profile!.seed, profile!.key.toBase64()], [null, key]);
});

test("knock client add --dialect openspa writes an OSPA file and says where", async () => {
  const fake = machine(
    TEXT.replace("clients", "openspa: { adk_secret: 7O4ZIRI }\nclients"),
  );
  const args = ["add", "box", "--dialect", "openspa", "--server", "192.0.2.1"];
  assertEquals(await run(args, fake), 0);
  assertEquals(fake.stdout, "box.ospa\n");
  assertEquals(fake.files.stat("box.ospa")!.mode! & 0o777, 0o600);
  const ospa = parseOspa(fake.files.readText("box.ospa"), "box.ospa");
  const config = loadConfig(fake, FILE);
  const { uuid, key } = config.clients[0]!.openspa!;
  assertEquals(ospa.uuid, formatUuid(uuid));
  assertEquals(ospa.uuid[14], "4");
  assertEquals(ospa.server, { host: "192.0.2.1", port: 22211 });
  assertEquals(ospa.adkSecret, "7O4ZIRI");
  assertEquals(ospa.serverKey.trim(), RSA_PUBLIC_PEM.trim());
  assertEquals(
    String(key.export({ format: "pem", type: "spki" })).trim(),
    ospa.publicKey.trim(),
  );
});

test("knock client remove removes the key of OpenSPA that add made", async () => {
  const fake = machine();
  await run(["add", "box", "--dialect", "openspa"], fake);
  assertStringIncludes(fake.stderr, "without openspa.adk_secret");
  assert(fake.files.stat("/etc/knock/openspa/box.pem"));
  await run(["remove", "box"], fake);
  assertEquals(fake.files.stat("/etc/knock/openspa/box.pem"), null);
  fake.files.remove("box.ospa");
  assertEquals(await run(["add", "box", "--dialect", "openspa"], fake), 0);
});

test("knock client list and show tell the dialect", async () => {
  const fake = machine();
  await run(["add", "tablet", "--dialect", "openme"], fake);
  await run(["add", "box", "--dialect", "openspa"], fake);
  fake.stdout = "";
  await run(["list"], fake);
  assertStringIncludes(fake.stdout, "tablet  openme ");
  assertStringIncludes(fake.stdout, "box     openspa ");
  await run(["show", "box"], fake);
  assertStringIncludes(fake.stdout, "openspa uuid ");
});

const refused: [args: string[], words: string][] = [
  [["--dialect", "opneme"], 'got "opneme"'],
  [["--dialect", "openme", "--code"], "no place for a code"],
  [["--dialect", "openme", "--key", "short"], "got 5 characters"],
  [["--dialect", "openspa", "--qr"], "no QR code"],
  [["--dialect", "openspa", "--key", "x"], "--key is not for openspa"],
];
for (const [args, words] of refused) {
  test(`knock client add ${args.join(" ")} is refused: ${words}`, async () => {
    const fake = machine();
    await assertRejects(
      () => run(["add", "a", ...args], fake),
      OperatorError,
      words,
    );
    assertEquals(fake.files.readText(FILE), TEXT);
    assertEquals(fake.stdout, "");
  });
}

test("knock client add --dialect keeps no file that was there", async () => {
  const fake = machine();
  fake.files.put("box.ospa", "mine");
  await assertRejects(
    () => run(["add", "box", "--dialect", "openspa"], fake),
    OperatorError,
    "box.ospa exists already",
  );
  assertEquals(fake.files.readText("box.ospa"), "mine");
  assertEquals(fake.files.readText(FILE), TEXT);
  assertEquals(fake.files.stat("/etc/knock/openspa/box.pem"), null);
});
