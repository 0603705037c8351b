import { addProfile, formatProfile } from "../../lib/client/profile/add.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import { findProfile, readProfiles } from "../../lib/client/profile/file.ts";
import { parseProfiles } from "../../lib/client/profile/profile.ts";
import { run as runImport } from "../../lib/commands/profiles/import.ts";
import { run as runProfiles } from "../../lib/commands/profiles/profiles.ts";
import { formatBase64url } from "../../lib/values/bytes.ts";
import {
  ConfigError,
  FailureError,
  OperatorError,
  UsageError,
} from "../../lib/values/errors.ts";
import { COMMAND_NAMES } from "../../lib/values/program.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import {
  CLIENT_PRIVATE,
  ENROLMENT,
  LINE,
  PROFILE,
  PSK,
} from "../fakes/fake_server.ts";

const FILE = "/home/alice/.config/knock/profiles.yaml";
const KEYS = formatProfile("x", ENROLMENT).split("\n").slice(2, 6).join("\n");
const SECRETS = [CLIENT_PRIVATE, PSK].map(formatBase64url);

const written = `# mine
home:
  server: home.example.org:62201
${KEYS}
  open: [tcp/22, udp/51820] # ssh and wireguard
  for: 1h
  from: 2001:DB8::1

'8080':
  server: "[2001:db8::7]:1"
${KEYS}
`;

test("parseProfiles() reads every key of a profile", () => {
  const profiles = parseProfiles(written, FILE);
  assertEquals([...profiles.keys()], ["8080", "home"]);
  assertEquals(profiles.get("home"), {
    ...PROFILE,
    open: [
      { protocol: "tcp", first: 22, last: 22 },
      { protocol: "udp", first: 51820, last: 51820 },
    ],
    seconds: 3600,
    from: { address: "2001:db8::1" },
  });
  assertEquals(profiles.get("8080"), {
    ...PROFILE,
    name: "8080",
    server: { host: "2001:db8::7", port: 1 },
  });
});

test("parseProfiles() takes an empty file for no profiles", () => {
  assertEquals(parseProfiles("", FILE).size, 0);
  assertEquals(parseProfiles("# none yet\n", FILE).size, 0);
});

const wrong: [yaml: string, mistakes: string[]][] = [
  ["home: 1", ['home: must be a mapping, got "1"']],
  ["- home", ["must be a mapping, got a list"]],
  ["home: {}", ["home.server: is missing", "home.knock: is missing"]],
  [`ping:\n  server: a:1\n${KEYS}`, [
    "ping: is the name of a command, and cannot be a profile's",
  ]],
  [`.home:\n  server: a:1\n${KEYS}`, ["the name must be 1 to 64 letters"]],
  [`home:\n  server: a\n${KEYS}`, [
    'home.server: must be HOST:PORT or [IPV6]:PORT, got "a"',
  ]],
  [`home:\n  server: a:0\n${KEYS}`, ["home.server: must be HOST:PORT"]],
  [
    `home:\n  server: a:1\n${KEYS}\n  open: [tcp/2-1, x]\n  for: 1y\n  from: me\n  fro: me`,
    [
      "home.fro: unknown key",
      'home.open[0]: must be tcp/PORT or udp/PORT, got "tcp/2-1"',
      'home.open[1]: must be tcp/PORT or udp/PORT, got "x"',
      'home.for: must be a duration such as 30s, 5m or 8h, got "1y"',
      'home.from: must be source, resolve or an address, got "me"',
    ],
  ],
  [
    `home:\n  server: a:1\n${KEYS}\n  open: [${
      Array.from({ length: 16 }, (_, port) => `tcp/${port + 1}`)
    }]`,
    ["home.open: must be at most 15 ports, got 16"],
  ],
  [
    `home:\n  server: a:1\n${KEYS.replace(SECRETS[1]!, SECRETS[1] + "x")}`,
    ["home.knock.psk: must be a key of 43 characters (base64url), got 44"],
  ],
  [`home:\n  server: a:1\n${KEYS}\nhome: {}`, [
    "line 7: cannot store mapping pair: duplicated key",
  ]],
  [`home: {psk: ${SECRETS[1]}: x`, ["line 1: "]],
];

for (const [row, [yaml, mistakes]] of wrong.entries()) {
  test(`parseProfiles() refuses row ${row}: ${mistakes[0]}`, () => {
    const error = assertThrows(() => parseProfiles(yaml, FILE), ConfigError);
    assertEquals(error.lines.length, mistakes.length, error.message);
    for (const [index, mistake] of error.lines.entries()) {
      assertStringIncludes(mistake, FILE);
      assertStringIncludes(mistake, mistakes[index]!);
    }
    for (const secret of SECRETS) assert(!error.message.includes(secret));
  });
}

test("parseProfiles() throws nothing but OperatorErrors", () => {
  const pieces = fc.constantFrom(...written.split(/(?<=[\s:,[\]])/));
  const yaml = fc.oneof(
    fc.string(),
    fc.array(pieces).map((list) => list.join("")),
  );
  fc.assert(fc.property(yaml, (text) => {
    try {
      parseProfiles(text, FILE);
    } catch (error) {
      assert(error instanceof OperatorError, String(error));
    }
  }));
});

test("readProfiles() is empty where there is no file", () => {
  assertEquals(readProfiles(new FakeRuntime(), FILE).size, 0);
});

for (const mode of [0o604, 0o640, 0o602, 0o620, 0o644]) {
  test(`readProfiles() refuses mode ${mode.toString(8)}, and tells the cure`, () => {
    const fake = new FakeRuntime();
    fake.files.put(FILE, written, mode);
    const error = assertThrows(() => readProfiles(fake, FILE), ConfigError);
    assertStringIncludes(error.message, `got mode "0${mode.toString(8)}"`);
    assertEquals(error.hint, `chmod 600 ${FILE}`);
  });
}

test("readProfiles() says that a file cannot be read", () => {
  const fake = new FakeRuntime({ files: { [FILE]: written } });
  fake.files.failing.set(FILE, "EACCES");
  assertThrows(() => readProfiles(fake, FILE), ConfigError, "cannot be read");
});

test("findProfile() hints at the nearest name, or at how to begin", () => {
  const fake = new FakeRuntime({ files: { [FILE]: written } });
  assertEquals(findProfile(fake, FILE, "home").name, "home");
  const near = assertThrows(() => findProfile(fake, FILE, "hme"), UsageError);
  assertEquals(near.message, `no profile "hme" in ${FILE}`);
  assertEquals(near.hint, 'did you mean "home"?');
  const far = assertThrows(() => findProfile(fake, FILE, "zz"), UsageError);
  assertEquals(far.hint, "`knock profiles` lists them");
  const none = assertThrows(
    () => findProfile(fake, "/none", "srve"),
    UsageError,
  );
  assertStringIncludes(none.hint!, 'did you mean "serve"?\n');
  assertStringIncludes(none.hint!, "knock import");
});

test("addProfile() makes the file for its owner alone, and its folder", () => {
  const fake = new FakeRuntime();
  addProfile(fake, FILE, "home", ENROLMENT);
  assertEquals(fake.files.stat(FILE)?.mode, 0o600);
  assertEquals(fake.files.stat("/home/alice/.config/knock")?.mode, 0o700);
  assertEquals(readProfiles(fake, FILE).get("home"), PROFILE);
});

test("addProfile() leaves other profiles and comments as they are", () => {
  for (const old of [written, written.trimEnd(), "# only a comment"]) {
    const fake = new FakeRuntime({ files: { [FILE]: old } });
    addProfile(fake, FILE, "true", { ...ENROLMENT, code: "JBSWY3DPEHPK3PXP" });
    assert(fake.files.readText(FILE).startsWith(old));
    const profile = readProfiles(fake, FILE).get("true");
    assertEquals(profile, {
      ...PROFILE,
      name: "true",
      code: "JBSWY3DPEHPK3PXP",
    });
  }
});

test("addProfile() refuses a name that is taken, a command's, or none", () => {
  const fake = new FakeRuntime({ files: { [FILE]: written } });
  for (const name of ["home", "8080", ...COMMAND_NAMES, "", "-x", "a/b"]) {
    const error = assertThrows(
      () => addProfile(fake, FILE, name, ENROLMENT),
      OperatorError,
    );
    const taken = name === "home" || name === "8080";
    assertEquals(error.status, taken ? 1 : 2);
    assertStringIncludes(error.hint!, "--name NAME");
  }
  assertEquals(fake.files.readText(FILE), written);
});

test("addProfile() leaves a file alone that it cannot add to as text", () => {
  for (const old of ["{}\n", `{home: {server: "a:1"}}`, "a: [", "...\n"]) {
    const fake = new FakeRuntime({ files: { [FILE]: old } });
    assertThrows(
      () => addProfile(fake, FILE, "office", ENROLMENT),
      OperatorError,
    );
    assertEquals(fake.files.readText(FILE), old);
  }
});

test("addProfile() says that the disk is full, and changes nothing", () => {
  const fake = new FakeRuntime({ files: { [FILE]: written } });
  fake.files.failingWrites.set(FILE, "ENOSPC");
  assertThrows(
    () => addProfile(fake, FILE, "office", ENROLMENT),
    FailureError,
    `cannot write ${FILE}`,
  );
  assertEquals(fake.files.readText(FILE), written);
});

const ways: [way: string, fake: FakeRuntime, args: string[]][] = [
  ["an argument", new FakeRuntime(), [LINE]],
  ["an argument at a terminal", new FakeRuntime({ terminals: ["in"] }), [LINE]],
  ["standard input", new FakeRuntime({ stdin: `${LINE}\n` }), ["-"]],
  ["a file", new FakeRuntime({ files: { "/tmp/line": LINE } }), ["/tmp/line"]],
  ["a pipe", new FakeRuntime({ stdin: `${LINE}\n` }), []],
  [
    "the terminal",
    new FakeRuntime({ terminals: ["in"], answers: [` ${LINE}`] }),
    [],
  ],
];
for (const [way, fake, args] of ways) {
  test(`knock import stores an enrolment from ${way}`, async () => {
    assertEquals(await runImport(args, fake), 0);
    assertEquals(readProfiles(fake, FILE).get("home"), PROFILE);
    assertEquals(fake.stdout, "");
    assertEquals(
      fake.stderr,
      'profile "home" is stored: `knock home` knocks at home.example.org:62201\n',
    );
  });
}

test("knock import takes --name and --profiles", async () => {
  const fake = new FakeRuntime();
  const args = [LINE, "--name", "office", "--profiles", "/tmp/p.yaml"];
  assertEquals(await runImport(args, fake), 0);
  assertEquals([...readProfiles(fake, "/tmp/p.yaml").keys()], ["office"]);
});

test("knock import takes the client's own key from a file or from input", async () => {
  const line = formatEnrolment({ ...ENROLMENT, key: null });
  const key = `${formatBase64url(CLIENT_PRIVATE)}\n`;
  for (const file of ["/tmp/key", "-"]) {
    const fake = new FakeRuntime({ files: { "/tmp/key": key }, stdin: key });
    assertEquals(await runImport([line, `--key=${file}`], fake), 0);
    assertEquals(readProfiles(fake, FILE).get("home"), PROFILE);
  }
});

const refusedImports: [args: string[], message: string][] = [
  [[], "is missing"],
  [[LINE, "x"], 'unexpected argument "x"'],
  [["/tmp/none"], "/tmp/none: cannot be read"],
  [["/tmp/long"], "has 70000 bytes"],
  [["-", "--key=-"], "cannot be both"],
  [[LINE, "--key", "/tmp/key"], "has a private key already"],
  [[formatEnrolment({ ...ENROLMENT, key: null })], "has no private key"],
  [
    [formatEnrolment({ ...ENROLMENT, key: null }), "--key", "/tmp/key"],
    "/tmp/key must hold a private key of 43 characters (base64url), got 7",
  ],
  [[LINE.replace("#home", "#send")], '"send" is the name of a command'],
  [[LINE, "--nam", "x"], 'unknown option "--nam"'],
];
for (const [row, [args, message]] of refusedImports.entries()) {
  test(`knock import refuses row ${row}: ${message}`, async () => {
    const fake = new FakeRuntime({
      files: { "/tmp/key": "c2hvcnQ", "/tmp/long": "x".repeat(70000) },
    });
    await assertRejects(() => runImport(args, fake), OperatorError, message);
    assertEquals(fake.files.stat(FILE), null);
  });
}

test("knock profiles lists them, and never a secret", async () => {
  const fake = new FakeRuntime({ files: { [FILE]: written } });
  assertEquals(await runProfiles([], fake), 0);
  assertEquals(
    fake.stdout,
    `NAME  SERVER                  DIALECT  DEFAULTS
8080  [2001:db8::7]:1         knock
home  home.example.org:62201  knock    tcp/22,udp/51820 for 1h from 2001:db8::1
`,
  );
  const json = new FakeRuntime({ files: { [FILE]: written } });
  assertEquals(await runProfiles(["--json"], json), 0);
  assertEquals(JSON.parse(json.stdout)[1], {
    name: "home",
    server: "home.example.org:62201",
    dialect: "knock",
    open: ["tcp/22", "udp/51820"],
    seconds: 3600,
    from: "2001:db8::1",
  });
  for (const secret of SECRETS) {
    assert(!(fake.stdout + json.stdout).includes(secret));
  }
});

test("knock profiles is content with none", async () => {
  const fake = new FakeRuntime();
  assertEquals(await runProfiles([], fake), 0);
  assertEquals(fake.stdout, "");
  assertStringIncludes(fake.stderr, "knock import");
  const json = new FakeRuntime();
  assertEquals(await runProfiles(["--json"], json), 0);
  assertEquals(json.stdout, "[]\n");
});
