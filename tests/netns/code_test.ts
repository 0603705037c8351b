/** One-time codes with the whole program: enrolment, client, server, restart. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { statSync } from "node:fs";
import { join } from "node:path";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import {
  oneTimeCode,
  parseCodeSecret,
  STEP_MS,
} from "../../lib/dialects/crypto/codes.ts";
import { CLIENTS, type Pair, pass, SERVER } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE] = CLIENTS[4];

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services:
  ssh: tcp/22
defaults: { for: 10m, max_for: 1h }
`;

/** Time of a step that must be left for what has to happen within it. */
const ROOM_MS = 12_000;

/** The code as an app shows it, so many steps from now. */
function shown(secret: string, steps = 0): string {
  const timeMs = Date.now() + steps * STEP_MS;
  const code = oneTimeCode(parseCodeSecret(secret)!, timeMs);
  return String(code).padStart(6, "0");
}

async function room(): Promise<void> {
  const leftMs = STEP_MS - Date.now() % STEP_MS;
  if (leftMs < ROOM_MS) await pass(leftMs + 100);
}

function scene(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
) {
  programTest(name, async (program, pair) => {
    program.configure(SETTINGS, [{ name: "bob", policy: ["open: [ssh]"] }]);
    await pair.serve("tcp", 22);
    await body(program, pair);
  });
}

/** Enrols a client with codes; its line. */
async function add(program: Program, name: string): Promise<string> {
  const args = ["add", name, "--code", "--server", SERVER[4]];
  const { code, stdout, stderr } = await program.admin("client", ...args);
  assertEquals(code, 0, stderr);
  return stdout.trim();
}

async function store(
  program: Program,
  line: string,
  ...args: string[]
): Promise<void> {
  const said = await program.client(["import", "-", ...args], line);
  assertEquals(said.code, 0, said.stderr);
}

scene(
  "a typed code opens once, and after kill -9 it is used still",
  async (program, pair) => {
    const line = await add(program, "alice");
    const secret = parseEnrolment(line).code!;
    const file = join(program.folder, "code", "alice.secret");
    assertEquals(statSync(file).mode & 0o777, 0o600);
    assertEquals(statSync(join(file, "..")).mode & 0o777, 0o700);
    await store(program, line, "--ask-code");
    const plain = line.replace(/&code=[A-Z2-7]+/, "");
    await store(program, plain, "--name", "codeless");
    await program.serve();
    const refused = async (...args: string[]) => {
      const { code, stderr } = await program.client(args);
      assertEquals(code, 1, stderr);
      assertMatch(stderr, /refused: the one-time code/);
    };
    const done = async (...args: string[]) => {
      const { code, stderr } = await program.client(args);
      assertEquals([code, stderr], [0, ""]);
    };

    const asked = await program.client(["alice"]);
    assertEquals(asked.code, 2);
    assertMatch(asked.stderr, /no terminal[^]*hint: .*--code 123456/);
    await refused("codeless");
    await program.logged("the one-time code is missing or wrong");
    assert(!await pair.canReach(HERE, 22), "shut without a code");

    await room();
    const [code, before] = [shown(secret), shown(secret, -1)];
    await refused("alice", "--code", shown(secret, -2));
    assert(!await pair.canReach(HERE, 22), "shut with an old code");
    await done("alice", "--code", code);
    assert(await pair.canReach(HERE, 22), "open with the right code");
    await refused("alice", "--code", code);
    await program.logged("the one-time code was used before");
    await done("close", "alice", "--code", before);
    assert(!await pair.canReach(HERE, 22), "closed with the code before");

    await program.signal("SIGKILL");
    await program.serve();
    const from = program.log.length;
    await refused("alice", "--code", code);
    await program.logged("the one-time code was used before", from);
    assert(!await pair.canReach(HERE, 22), "used still after kill -9");
  },
);

scene(
  "a profile with the secret makes its codes itself",
  async (program, pair) => {
    await store(program, await add(program, "carol"));
    await program.serve();
    const { code, stderr } = await program.client(["carol"]);
    assertEquals([code, stderr], [0, ""]);
    assert(await pair.canReach(HERE, 22));

    const removed = await program.admin("client", "remove", "carol");
    assertEquals(removed.code, 0, removed.stderr);
    const file = join(program.folder, "code", "carol.secret");
    assertEquals(statSync(file, { throwIfNoEntry: false }), undefined);
    await program.signal("SIGHUP");
    await program.logged("the client was removed");
    assert(!await pair.canReach(HERE, 22), "a removed client is shut out");
  },
);
