import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { readProfiles } from "../../lib/client/profile/file.ts";
import { run as runCheck } from "../../lib/commands/operator/check.ts";
import { checkConverted, run } from "../../lib/commands/operator/convert.ts";
import { loadConfig } from "../../lib/config/files/load.ts";
import { ConfigError, OperatorError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";

const KEY = new Uint8Array(32).fill(1).toBase64();
const MAC = new Uint8Array(64).fill(2).toBase64();
const FOLDER = dirname(fileURLToPath(import.meta.url));
const knockd = (name: string) =>
  runtime.files.readText(join(FOLDER, "..", "vectors", "knockd", name));

const OPENME = `
server: { private_key: "${KEY}", drop_ports: true, udp_port: 54154 }
ports: { default: [22/tcp] }
clients:
  tablet: { ed25519_pubkey: "${new Uint8Array(32).fill(3).toBase64()}" }
`;
const ACCESS = `SOURCE ANY
KEY_BASE64 ${KEY}
HMAC_KEY_BASE64 ${MAC}
OPEN_PORTS tcp/22
`;
const RC = `[home]
SPA_SERVER home.example.org
ACCESS tcp/22
KEY_BASE64 ${KEY}
HMAC_KEY_BASE64 ${MAC}
USE_HMAC Y
`;

const FILES = {
  "/etc/openme.yaml": OPENME,
  "/etc/access.conf": ACCESS,
  "/etc/fwknopd.conf": "UDPSERV_PORT 62202;\nENABLE_UDP_SERVER Y;\n",
  "/home/alice/.fwknoprc": RC,
  "/etc/knockd.conf": knockd("1-classic-open-close.conf"),
};

const machine = () => new FakeRuntime({ files: FILES });

const servers: [args: string[]][] = [
  [["openme", "/etc/openme.yaml"]],
  [["fwknop", "/etc/access.conf", "/etc/fwknopd.conf"]],
  [["knockd", "/etc/knockd.conf"]],
];
for (const [args] of servers) {
  test(`knock convert ${args.join(" ")} writes what knock check takes`, async () => {
    const fake = machine();
    assertEquals(await run([...args, "--dir", "/new"], fake), 0);
    assertEquals(fake.stdout, "");
    for (const name of fake.files.list("/new")) {
      assertEquals(fake.files.stat(`/new/${name}`)!.mode! & 0o777, 0o600);
    }
    assertEquals(mistakesIn(fake, "/new/server.yaml"), []);
    // The same is printed without a folder.
    const other = machine();
    assertEquals(await run(args, other), 0);
    assertEquals(other.stdout, fake.files.readText("/new/server.yaml"));
  });
}

/** Characters that a terminal is spared, and so is a file that is printed. */
const ODD = "a\u0085b\u009b\u202ec";
const odd: [args: string[], file: string][] = [
  [["fwknop", "/f"], ACCESS.replace("OPEN", `REQUIRE_USERNAME ${ODD}\nOPEN`)],
  [["fwknop", "/f"], `${RC}SPOOF_USER ${ODD}\nALLOW_IP source\n`],
  [["openme", "/f"], OPENME.replace("tablet", `"${ODD}"`)],
  [["knockd", `/${ODD}`], `[a]\nsequence = 7000\ncommand = /bin/${ODD}\n`],
];
for (const [args, text] of odd) {
  test(
    `knock convert ${args[0]} prints text that stays as it is on its way: ${
      JSON.stringify(text.slice(0, 20))
    }`,
    async () => {
      const fake = new FakeRuntime({ files: { [args[1]!]: text } });
      assertEquals(await run(args, fake), 0);
      // What is escaped on its way out is no YAML any more.
      assert(!fake.stdout.includes("\\u{"), fake.stdout);
    },
  );
}

/** Mistakes of a file, but for what this version cannot do yet. */
function mistakesIn(fake: FakeRuntime, file: string): readonly string[] {
  try {
    loadConfig(fake, file);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.lines.filter((one) => !one.includes("not yet supported"));
  }
}

test("knock convert openme --dir takes the server's key over, and makes ours", async () => {
  const fake = machine();
  await run(["openme", "/etc/openme.yaml", "-d", "/new"], fake);
  assertEquals(fake.files.readText("/new/openme.key"), `${KEY}\n`);
  assertEquals(fake.files.readText("/new/server.key").length, 44);
  await runCheck(["/new/server.yaml"], fake);
  assertEquals(fake.stdout, "configuration OK\n");
  assert(fake.stderr.includes("wrote /new/server.yaml\n"), fake.stderr);
  assert(!fake.stderr.includes(KEY));
  const config = loadConfig(fake, "/new/server.yaml");
  assertEquals(config.openme.key, new Uint8Array(32).fill(1));
});

test("knock convert openme keeps a key of ours that is there", async () => {
  const fake = machine();
  const key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\n";
  fake.files.put("/new/server.key", key);
  await run(["openme", "/etc/openme.yaml", "-d", "/new"], fake);
  assertEquals(fake.files.readText("/new/server.key"), key);
});

test("knock convert changes no file that is there", async () => {
  const fake = machine();
  fake.files.put("/new/server.yaml", "mine");
  await assertRejects(
    () => run(["openme", "/etc/openme.yaml", "-d", "/new"], fake),
    OperatorError,
    "/new/server.yaml exists already",
  );
  assertEquals(fake.files.readText("/new/server.yaml"), "mine");
  assertEquals(fake.files.list("/new"), ["server.yaml"]);
});

test("knock convert tells on standard error what it leaves, without secrets", async () => {
  const fake = machine();
  await run(["openme", "/etc/openme.yaml"], fake);
  assert(fake.stderr.includes("knock: warning: "), fake.stderr);
  assert(fake.stderr.includes("knock: hint: it names openme.key"));
  assert(!fake.stderr.includes(KEY) && !fake.stdout.includes(KEY));
});

test("knock convert fwknop makes profiles of a client's file", async () => {
  const fake = machine();
  assertEquals(
    await run(["fwknop", "/home/alice/.fwknoprc", "-d", "/new"], fake),
    0,
  );
  assertEquals(fake.files.list("/new"), ["profiles.yaml"]);
  try {
    assertEquals([...readProfiles(fake, "/new/profiles.yaml").keys()], [
      "home",
    ]);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    // Until profiles know the keys of fwknop.
    assert(error.message.includes("home.fwknop: unknown key"), error.message);
  }
});

const wrong: [args: string[], words: string][] = [
  [[], "TOOL is missing"],
  [["opneme", "/x"], 'got "opneme"'],
  [["openme"], "FILE is missing"],
  [["openme", "/none"], "/none: cannot be read"],
  [["openme", "/etc/openme.yaml", "/x"], 'got "/x" besides'],
  [["openme", "/etc/access.conf"], "/etc/access.conf: "],
  [["knockd", "/etc/openme.yaml"], "/etc/openme.yaml: line "],
  [["fwknop", "/etc/openme.yaml"], "is no access.conf"],
];
for (const [args, words] of wrong) {
  test(`knock convert ${args.join(" ")} is a mistake: ${words}`, async () => {
    const fake = machine();
    const error = await assertRejects(
      () => run(args, fake),
      OperatorError,
      words,
    );
    assertEquals(error.status, 2);
    assertEquals(fake.stdout, "");
  });
}

test("knock convert writes nothing that knock check would refuse", async () => {
  const bad = { text: "listen: [1]\nkey: k\nhello: 1\n", warnings: [] };
  const error = assertThrows(
    () => checkConverted(machine(), ["/etc/old.conf"], bad),
    ConfigError,
    "/etc/old.conf: cannot be converted: server.yaml: hello: ",
  );
  assertEquals(error.status, 2);
  assertThrows(
    () =>
      checkConverted(machine(), ["/rc"], {
        text: "send: { server: x }\n",
        warnings: [],
        name: "profiles.yaml",
      }),
    ConfigError,
    "/rc: cannot be converted: profiles.yaml: send",
  );
  // A key file that was there before is looked at, too.
  const fake = machine();
  fake.files.put("/new/server.key", "none\n");
  await assertRejects(
    () => run(["openme", "/etc/openme.yaml", "-d", "/new"], fake),
    ConfigError,
    "server.key",
  );
  assertEquals(fake.files.list("/new"), ["server.key"]);
});
