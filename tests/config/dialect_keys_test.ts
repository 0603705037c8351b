/** The keys of openme and OpenSPA in the server's configuration, and their files. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";
import { createDialects, dialectsOf } from "../../lib/dialects/table.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { makeOwnKeys } from "../../lib/config/files/write.ts";
import { ConfigError, FailureError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { CLIENT_PUBLIC_PEM, RSA_PRIVATE_PEM } from "../fakes/rsa.ts";

const FILE = "/etc/knock/server.yaml";
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const TABLET = new Uint8Array(32).fill(3).toBase64();
const TEXT = `
clients:
  tablet: { openme: { key: "${TABLET}" } }
  box: { openspa: { uuid: ${UUID}, key: box.pem } }
`;

function machine(text = TEXT): FakeRuntime {
  return new FakeRuntime({
    files: {
      [FILE]: text,
      "/etc/knock/server.key": KEY,
      "/etc/knock/box.pem": CLIENT_PUBLIC_PEM,
    },
  });
}

test("loadConfig() is content with own keys that were not made yet", async () => {
  const config = loadConfig(machine(), FILE);
  assertEquals([config.openme.key, config.openspa.key], [null, null]);
  assertEquals(config.clients.map(dialectsOf), [["openme"], ["openspa"]]);
  assertEquals(await createDialects(config), []);
});

test("makeOwnKeys() makes what is needed, once, for the owner alone", async () => {
  const fake = machine();
  const made = makeOwnKeys(fake, loadConfig(fake, FILE));
  assertEquals(made, ["/etc/knock/openme.key", "/etc/knock/openspa.pem"]);
  for (const path of made) {
    assertEquals(fake.files.stat(path)!.mode! & 0o777, 0o600);
  }
  const config = loadConfig(fake, FILE);
  assertEquals(makeOwnKeys(fake, config), []);
  const names = (await createDialects(config)).map(({ name }) => name);
  assertEquals(names, ["openme", "openspa"]);
});

test("makeOwnKeys() makes none that nobody uses, and those that are asked for", () => {
  const fake = machine("clients: {}\nopenme: { key: keys/own.key }\n");
  const config = loadConfig(fake, FILE);
  assertEquals(makeOwnKeys(fake, config), []);
  assertThrows(
    () => makeOwnKeys(fake, config, ["openme"]),
    FailureError,
    "cannot write /etc/knock/keys/own.key",
  );
  fake.files.makeFolder("/etc/knock/keys", 0o700);
  assertEquals(makeOwnKeys(fake, config, ["openme", "knock"]).length, 1);
});

const wrong: [
  name: string,
  change: (fake: FakeRuntime) => void,
  mistake: string,
][] = [
  [
    "an openme key that others read",
    ({ files }) => {
      files.put("/etc/knock/openme.key", TABLET);
      files.chmod("/etc/knock/openme.key", 0o644);
    },
    'openme.key: "/etc/knock/openme.key" must be closed to other users',
  ],
  [
    "an openme key that is none",
    ({ files }) => files.put("/etc/knock/openme.key", "secret"),
    'openme.key: "/etc/knock/openme.key" must hold a private key of 32 bytes ' +
    "in base64, got 6 characters",
  ],
  [
    "an RSA key that others read",
    ({ files }) => {
      files.put("/etc/knock/openspa.pem", RSA_PRIVATE_PEM);
      files.chmod("/etc/knock/openspa.pem", 0o640);
    },
    'openspa.key: "/etc/knock/openspa.pem" must be closed to other users',
  ],
  [
    "a client's key that is missing",
    ({ files }) => files.remove("/etc/knock/box.pem"),
    'clients.box.openspa.key: "box.pem" is missing',
  ],
  [
    "a client's private key",
    ({ files }) => files.put("/etc/knock/box.pem", RSA_PRIVATE_PEM),
    'clients.box.openspa.key: "/etc/knock/box.pem" must hold a public key',
  ],
  [
    "a UUID twice",
    ({ files }) =>
      files.put(
        FILE,
        `${TEXT}  two: { openspa: { uuid: ${UUID}, key: box.pem } }\n`,
      ),
    "clients.two.openspa.uuid: must be a UUID of its own",
  ],
  [
    "an openme key twice",
    ({ files }) =>
      files.put(FILE, `${TEXT}  two: { openme: { key: "${TABLET}" } }\n`),
    "clients.two.openme.key: must be a key of its own",
  ],
  [
    "a wrong secret of ADK proofs",
    ({ files }) => files.put(FILE, `${TEXT}openspa: { adk_secret: secret }\n`),
    "openspa.adk_secret: must be 7 characters of base32, got 6 characters",
  ],
];
for (const [name, change, mistake] of wrong) {
  test(`loadConfig() refuses ${name}`, () => {
    const fake = machine();
    change(fake);
    const { lines: mistakes } = assertThrows(
      () => loadConfig(fake, FILE),
      ConfigError,
    );
    const texts = mistakes.join("\n");
    assert(texts.includes(mistake), texts);
    assert(!texts.includes("secret,") && !texts.includes("BEGIN"));
  });
}
