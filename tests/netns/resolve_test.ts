/** The own address: found out by a real STUN server, and remembered. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CLIENTS,
  type Pair,
  pass,
  type Said,
  scriptCommand,
  SERVER,
} from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services: { ssh: tcp/22 }
defaults: { for: 20s, max_for: 1h }
`;

const [HERE, OTHER] = CLIENTS[4];
const HERE6 = CLIENTS[6].at(-1)!;
const STUN_PORT = 3478;

interface Scene {
  readonly program: Program;
  readonly pair: Pair;
  knock(...args: string[]): Promise<Said>;
}

function scene(
  name: string,
  policy: readonly string[],
  body: (scene: Scene) => Promise<void>,
  programs: readonly string[] = [],
): void {
  programTest(name, async (program, pair) => {
    const { folder } = program;
    const all = ["open: [ssh]", ...policy];
    program.configure(SETTINGS, [{ name: "home", policy: all }]);
    await pair.serve("tcp", 22);
    await program.serve();
    await program.enrol("home");
    await program.enrol("home", 6);
    await pair.cableUp();
    const environment = [
      `XDG_STATE_HOME=${folder}/memory`,
      `KNOCK_PROFILES=${folder}/profiles.yaml`,
    ];
    const knock = (...args: string[]) =>
      pair.exec(pair.client, [
        "env",
        ...environment,
        ...scriptCommand("../../main.ts", ...args),
      ]);
    await body({ program, pair, knock });
  }, programs);
}

/** Has the profiles ask a STUN server. */
function resolveBy(folder: string, server: string): void {
  const file = join(folder, "profiles.yaml");
  const [profiles] = readFileSync(file, "utf8").split("resolve:");
  writeFileSync(file, `${profiles}resolve: { stun: ${server} }\n`);
}

/** coturn, as nothing but a STUN server. */
async function startStun(pair: Pair, folder: string): Promise<void> {
  const log = join(folder, "turnserver.log");
  pair.spawn(pair.server, [
    "turnserver",
    "-n",
    "--stun-only",
    "--no-tls",
    "--no-dtls",
    "--no-cli",
    "--no-tcp",
    ...["--listening-port", String(STUN_PORT)],
    ...["--listening-ip", SERVER[4]],
    ...["--listening-ip", SERVER[6]],
    ...["--pidfile", join(folder, "turnserver.pid")],
    ...["--log-file", log, "--simple-log"],
    ...["--userdb", join(folder, "turndb")],
  ], "pipe").stdout!.resume();
  const used = `ss -Hlun sport = :${STUN_PORT}`;
  for (let waited = 0; waited < 200; waited++) {
    const { stdout } = await pair.exec(pair.server, ["sh", "-c", used]);
    if (stdout.includes(SERVER[4]) && stdout.includes(SERVER[6])) return;
    await pass(25);
  }
  throw new Error("no STUN server");
}

scene(
  "--from resolve names the address that a STUN server sees, over both families",
  ["require_address: true"],
  async ({ program, pair, knock }) => {
    const { folder } = program;
    await startStun(pair, folder);
    assertMatch((await knock("home")).stderr, /refused/);
    resolveBy(folder, SERVER[4]);
    const said = await knock("home", "--from", "resolve", "--json");
    assertEquals([said.code, said.stderr], [0, ""]);
    const { status, address } = JSON.parse(said.stdout);
    assertEquals([status, address], ["done", HERE]);
    assert(await pair.canReach(HERE!, 22));
    resolveBy(folder, `"[${SERVER[6]}]:${STUN_PORT}"`);
    const over6 = await knock("home6", "--from", "resolve", "--json");
    assertEquals([over6.code, over6.stderr], [0, ""]);
    assertEquals(JSON.parse(over6.stdout).address, HERE6);
  },
  ["turnserver", "ss"],
);

scene(
  "--from resolve says who did not answer",
  [],
  async ({ program, knock }) => {
    resolveBy(program.folder, `"${SERVER[4]}:9"`);
    const { code, stderr } = await knock("home", "--from", "resolve");
    assertEquals(code, 1);
    assertMatch(
      stderr,
      /cannot find out this client's address: stun 10\.77\.0\.1:9: no answer/,
    );
  },
);

scene(
  "the remembered address is named, and given up when it is another",
  [],
  async ({ program, pair, knock }) => {
    assertEquals((await knock("home")).code, 0);
    assert(await pair.canReach(HERE!, 22));
    // The same machine, as far as it knows, comes from another address now.
    const source = ["route", "replace", "10.77.0.0/24", "dev", "eth0"];
    await pair.exec(pair.client, ["ip", ...source, "src", OTHER!]);
    const said = await knock("home", "--json");
    assertEquals([said.code, said.stderr], [0, ""]);
    assertEquals(JSON.parse(said.stdout).address, OTHER);
    assertMatch(program.log, /warn refused home \S+: the address named is not/);
    assert(await pair.canReach(OTHER!, 22));
    const once = program.log.match(/ refused /g)?.length;
    assertEquals((await knock("home")).code, 0);
    assertEquals(program.log.match(/ refused /g)?.length, once);
  },
);
