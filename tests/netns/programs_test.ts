/** The whole program with the backends iptables and command, with hooks and commands, on the real kernel. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CLIENTS, type Pair, pass } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [A, B] = CLIENTS[4];
const [A6] = CLIENTS[6];

/** A test with a program that is removed at its end. */
function firewallTest(
  name: string,
  body: (knock: Program, pair: Pair) => Promise<void>,
): void {
  programTest(name, body, ["iptables", "ip6tables"]);
}

async function ok(said: Promise<{ code: number | null; stderr: string }>) {
  const { code, stderr } = await said;
  assertEquals(code, 0, stderr);
}

const ALICE = { name: "alice", policy: ["open: [ssh]"] };
const RUNNER = { name: "alice", policy: ["open: [ssh]", "run: [greet, fail]"] };

firewallTest(
  "knock with iptables opens, ends, and starts again",
  async (knock, pair) => {
    await pair.serve("tcp", 22);
    knock.configure(
      "services: { ssh: tcp/22 }\nfirewall: { backend: iptables }",
      [ALICE],
    );
    await knock.serve();
    assertMatch(knock.log, /iptables [\d.]+ \(\w+\), guards ssh/);
    await knock.enrol("alice");
    assert(!await pair.canReach(A, 22));
    await ok(knock.client(["alice", "--for", "60"]));
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    assert(!await pair.canReach(A6, 22));
    await knock.signal("SIGKILL");
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    await knock.serve();
    assert(await pair.canReach(A, 22));
    await ok(knock.client(["close", "alice"]));
    assert(!await pair.canReach(A, 22));
    await ok(knock.client(["alice", "--for", "1"]));
    assert(await pair.canReach(A, 22));
    await pass(2100);
    assert(!await pair.canReach(A, 22));
    assertEquals(await knock.signal("SIGTERM"), 0);
    assert(!await pair.canReach(A, 22));
  },
);

firewallTest(
  "knock with a command opens and closes by it, over a kill",
  async (knock, pair) => {
    await pair.serve("tcp", 22);
    await pair.onServer(
      ["iptables-restore"],
      "*filter\n:INPUT ACCEPT [0:0]\n:DOOR - [0:0]\n" +
        "-A INPUT -j DOOR\n-A INPUT -p tcp --dport 22 -j DROP\nCOMMIT\n",
    );
    const rule = "DOOR -s {address} -p {protocol} --dport {port} -j ACCEPT";
    const argv = (verb: string) =>
      JSON.stringify(["iptables", "-w", verb, ...rule.split(" ")]);
    knock.configure(
      `services: { ssh: tcp/22 }
firewall:
  backend: command
  open: ${argv("-I")}
  close: ${argv("-D")}`,
      [ALICE],
    );
    await knock.serve();
    await knock.enrol("alice");
    assert(!await pair.canReach(A, 22));
    await ok(knock.client(["alice", "--for", "2"]));
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(B, 22));
    // Its end comes while the server is down: the next one closes.
    await knock.signal("SIGKILL");
    await pass(2100);
    assert(await pair.canReach(A, 22));
    await knock.serve();
    await knock.logged("listens on");
    assert(!await pair.canReach(A, 22));
    await ok(knock.client(["alice", "--for", "2"]));
    assert(await pair.canReach(A, 22));
    await pass(3200);
    assert(!await pair.canReach(A, 22));
    await ok(knock.client(["alice"]));
    await ok(knock.client(["close", "alice"]));
    assert(!await pair.canReach(A, 22));
    // The program says no: so does the knock.
    await pair.onServer(["iptables", "-F", "INPUT"]);
    await pair.onServer(["iptables", "-X", "DOOR"]);
    const said = await knock.client(["alice"]);
    assertEquals(said.code, 1);
    assertMatch(said.stderr, /the server's firewall failed/);
    assertMatch(
      knock.log,
      /failed alice .*firewall\.open: iptables: ended with/,
    );
  },
);

firewallTest(
  "knock runs hooks and commands, and tells how they went",
  async (knock) => {
    const seen = join(knock.folder, "seen");
    const script = join(knock.folder, "hook.sh");
    writeFileSync(
      script,
      `printf '%s|%s|%s\\n' "$1" "$KNOCK_CLIENT" "$KNOCK_ADDRESS" >> ${seen}\n`,
    );
    knock.configure(
      `services: { ssh: tcp/22 }
firewall: { backend: iptables }
hooks:
  open: [sh, ${script}, "open {ports}"]
  close: [sh, ${script}, "close {ports}"]
commands:
  greet: [sh, -c, 'echo "hello $KNOCK_CLIENT"; sleep 1.5; echo x >> ${seen}']
  fail: [sh, -c, "echo no way >&2; exit 3"]
  other: ["true"]`,
      [RUNNER],
    );
    await knock.serve();
    await knock.enrol("alice");
    await ok(knock.client(["alice"]));
    await ok(knock.client(["close", "alice"]));
    for (let i = 0; i < 200; i++) {
      if (
        existsSync(seen) && readFileSync(seen, "utf8").includes("close")
      ) break;
      await pass(20);
    }
    assertEquals(
      readFileSync(seen, "utf8"),
      `open tcp/22|alice|${A}\nclose tcp/22|alice|${A}\n`,
    );
    // Slower than the client's first tries: it runs once all the same.
    await ok(knock.client(["run", "alice", "greet"]));
    assertEquals(readFileSync(seen, "utf8").match(/x/g)?.length, 1);
    assertMatch(knock.log, /command greet: hello alice/);
    const failed = await knock.client(["run", "alice", "fail"]);
    assertEquals(failed.code, 1);
    assertMatch(failed.stderr, /the server's command failed/);
    assertMatch(knock.log, /command fail: ended with 3: no way/);
    for (const name of ["other", "nonsense"]) {
      const refused = await knock.client(["run", "alice", name]);
      assertEquals(refused.code, 1);
      assertMatch(refused.stderr, /refused: command "\w+" is not allowed/);
    }
  },
);
