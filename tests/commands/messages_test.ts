import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { COMMANDS, runCommand } from "../../lib/commands/table.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const DIR = "/etc/knock";
const KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
const CONFIG = `listen: 62201
firewall: { backend: gate }
services: { ssh: { listen: tcp/2222, to: "127.0.0.1:22" } }
`;
const PROFILE = `home:
  server: 192.0.2.1:62201
  knock: { server: ${KEY}, key: ${KEY}, psk: ${KEY} }
`;
const PROFILES = "/root/.config/knock/profiles.yaml";

const FILES: Readonly<Record<string, string>> = {
  [`${DIR}/server.yaml`]: CONFIG,
  [`${DIR}/server.key`]: `${KEY}\n`,
  [PROFILES]: PROFILE,
  "/f/empty": "",
  "/f/text": "hello\n",
  "/f/cut": "home: [1\n",
};

function machine(): FakeRuntime {
  const runtime = new FakeRuntime({
    userId: 0,
    env: { HOME: "/root" },
    files: FILES,
  });
  runtime.files.put("/f/world", PROFILE, 0o644);
  runtime.files.makeFolder("/f/folder", 0o700);
  runtime.files.put("/f/closed", PROFILE);
  runtime.files.failing.set("/f/closed", "EACCES");
  return runtime;
}

/** Outcome of a command line: its status, and its output on each stream. */
interface Case {
  readonly argv: string;
  readonly status: number;
  readonly out?: string;
  /** Lines without "knock: error: " of the first and "knock: hint: " of the others. */
  readonly err?: readonly string[];
}

const cases: Case[] = [
  // What is missing, and what is too much.
  {
    argv: "exec",
    status: 2,
    err: [
      'the command must come behind "--"',
      "knock exec PROFILE -- COMMAND...",
    ],
  },
  {
    argv: "completion",
    status: 2,
    err: [
      "SHELL is missing",
      "it is bash, zsh or fish",
    ],
  },
  {
    argv: "convert",
    status: 2,
    err: [
      "TOOL is missing",
      "it is knockd, fwknop, openme or openspa",
    ],
  },
  {
    argv: "convert foo x",
    status: 2,
    err: [
      'TOOL must be knockd, fwknop, openme or openspa, got "foo"',
    ],
  },
  {
    argv: "import ",
    status: 2,
    err: [
      "LINE, FILE or - is missing",
    ],
  },

  // Options: the nearest one, and the same words for the same idea.
  {
    argv: "home --fro 192.0.2.1",
    status: 2,
    err: [
      'unknown option "--fro"',
      'did you mean "--from"?',
    ],
  },
  {
    argv: "exec --trys 1 home",
    status: 2,
    err: [
      'unknown option "--trys"',
      'did you mean "--tries"?',
    ],
  },
  {
    argv: "serve --config",
    status: 2,
    err: [
      "--config needs a value",
      "a value that starts with a dash is written --config=VALUE",
    ],
  },
  {
    argv: "serve --trial soon",
    status: 2,
    err: [
      '--trial must be a duration such as 90, 30s, 5m or 8h, got "soon"',
      "a whole number, then s, m, h or d",
    ],
  },
  {
    argv: "log --since soon",
    status: 2,
    err: [
      '--since must be a duration such as 90, 30s, 5m or 8h, got "soon"',
      "a whole number, then s, m, h or d",
    ],
  },
  {
    argv: "home --for soon",
    status: 2,
    err: [
      '--for must be a duration such as 90, 30s, 5m or 8h, got "soon"',
      "a whole number, then s, m, h or d",
    ],
  },
  {
    argv: "home --open ssh",
    status: 2,
    err: [
      '--open must be tcp/PORT or udp/PORT, got "ssh"',
      "write tcp/22; a service's name is known on the server alone",
    ],
  },
  {
    argv: "home --code 1",
    status: 2,
    err: [
      "--code must be the six digits that the authenticator app shows, got 1 character",
    ],
  },
  {
    argv: "client add a --dialect foo",
    status: 2,
    err: [
      '--dialect must be knock, fwknop, openme or openspa, got "foo"',
    ],
  },
  {
    argv: "seq host x",
    status: 2,
    err: [
      'PORT must be 1 to 65535, with /udp or /tcp behind it where needed, got "x"',
    ],
  },
  {
    argv: "check -c /etc/knock/server.yaml",
    status: 0,
    out: "configuration OK\n",
    err: [
      `knock: warning: ${DIR}/server.yaml: services.ssh: no client may open it`,
    ],
  },
  {
    argv: "log -c /etc/knock/server.yaml",
    status: 0,
    err: ["nothing is in the log"],
  },

  // Names that nobody has.
  {
    argv: "nobody",
    status: 2,
    err: [
      `no profile "nobody" in ${PROFILES}`,
      "`knock profiles` lists them",
    ],
  },
  {
    argv: "ping hom",
    status: 2,
    err: [
      `no profile "hom" in ${PROFILES}`,
      'did you mean "home"?',
    ],
  },
  {
    argv: "proflies",
    status: 2,
    err: [
      `no profile "proflies" in ${PROFILES}`,
      'did you mean "profiles"?',
    ],
  },
  {
    argv: "client show x",
    status: 2,
    err: [
      `there is no client "x" in ${DIR}/server.yaml`,
      "`knock client list` lists them",
    ],
  },
  {
    argv: "log --client x",
    status: 2,
    err: [
      `there is no client "x" in ${DIR}/server.yaml`,
      "`knock client list` lists them",
    ],
  },
  {
    argv: "client list",
    status: 0,
    err: [
      `no clients in ${DIR}/server.yaml yet: \`knock client add NAME\` enrols one`,
    ],
  },
  {
    argv: "profiles --profiles /f/none",
    status: 0,
    err: [
      "no profiles in /f/none yet: `knock import` stores one",
    ],
  },

  // Files.
  {
    argv: "check /f/none",
    status: 2,
    err: [
      "/f/none: is missing",
      "`knock init --dir DIR` writes a new configuration and its key",
    ],
  },
  {
    argv: "check /f/closed",
    status: 2,
    err: [
      "/f/closed: cannot be read: permission denied",
      "run it as root, or as the file's owner",
    ],
  },
  {
    argv: "check /f/cut",
    status: 2,
    err: [
      "/f/cut: line 2: cannot read flow collection: unexpected end of the stream within a flow collection",
    ],
  },
  {
    argv: "home --profiles /f/cut",
    status: 2,
    err: [
      "/f/cut: line 2: cannot read flow collection: unexpected end of the stream within a flow collection",
    ],
  },
  {
    argv: "check /f/folder",
    status: 2,
    err: [
      "/f/folder: is a folder, not a file",
    ],
  },
  {
    argv: "home --profiles /f/folder",
    status: 2,
    err: [
      "/f/folder: is a folder, not a file",
    ],
  },
  {
    argv: "convert knockd /f/folder",
    status: 2,
    err: [
      "/f/folder: is a folder, not a file",
    ],
  },
  { argv: "convert knockd /f/empty", status: 2, err: ["/f/empty: is empty"] },
  { argv: "convert fwknop /f/empty", status: 2, err: ["/f/empty: is empty"] },
  {
    argv: "home --profiles /f/world",
    status: 2,
    err: [
      '/f/world: must be closed to other users as it holds secrets, got mode "0644"',
      "chmod 600 /f/world",
    ],
  },
  {
    argv: "home --profiles /f/closed",
    status: 2,
    err: [
      "/f/closed: cannot be read: made to fail with EACCES",
      "run it as the file's owner",
    ],
  },
  {
    argv: "import /f/none",
    status: 2,
    err: [
      "/f/none: cannot be read: no such file or folder",
      'an enrolment starts with "knock://"; anything else is a file',
    ],
  },
  {
    argv: "rules",
    status: 2,
    err: [
      `${DIR}/server.yaml: firewall.backend: must be nft for a ruleset of nftables, got "gate"`,
    ],
  },
];

for (const { argv, status, out = "", err = [] } of cases) {
  test(`knock ${argv}: ${status}, ${err[0] ?? "nothing to say"}`, async () => {
    const runtime = machine();
    const args = argv.split(" ").filter((word) => word !== "");
    assertEquals(await runCommand(args, runtime), status);
    assertEquals(runtime.stdout, out);
    const lines = err.map((line, index) =>
      status === 0 ? line : `knock: ${index === 0 ? "error" : "hint"}: ${line}`
    );
    assertEquals(runtime.stderr.split("\n").slice(0, -1), lines);
  });
}

const wrong = Object.keys(COMMANDS).flatMap((name) => [
  [name, "--no-such-option"],
  [name, "a", "b", "c", "d", "--no-such-option=1"],
]);

for (const args of wrong) {
  test(`knock ${args.join(" ")} is refused in one line, and changes nothing`, async () => {
    const runtime = machine();
    const before = runtime.files.paths();
    assertEquals(await runCommand(args, runtime), 2);
    assertEquals(runtime.stdout, "");
    const [first, ...rest] = runtime.stderr.split("\n").slice(0, -1);
    assertMatch(first!, /^knock: error: .*[^.]$/);
    for (const line of rest) assertMatch(line, /^knock: hint: /);
    assertEquals(runtime.files.paths(), before);
  });
}

for (const name of Object.keys(COMMANDS)) {
  test(`knock ${name} --help is what \`knock help ${name}\` prints`, async () => {
    const asked = machine();
    const told = machine();
    assertEquals(await runCommand([name, "--help"], asked), 0);
    assertEquals(await runCommand(["help", name], told), 0);
    assertEquals(asked.stdout, told.stdout);
    assertEquals([asked.stderr, told.stderr], ["", ""]);
    assert(asked.stdout.startsWith("Usage:\n    knock "));
    assertMatch(asked.stdout, /\nExample(, in [^\n]*)?:\n {4}\S/);
    for (const line of asked.stdout.split("\n")) {
      assert(line.length <= 80 || /^ {4}/.test(line), line);
    }
  });
}
