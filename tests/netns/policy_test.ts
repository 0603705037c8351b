/** Policies that need the whole program: single-use grants, ended connections, hooks and commands. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CLIENTS, type Pair, until } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];

function policy(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
  programs: readonly string[] = [],
) {
  programTest(name, async (program, pair) => {
    await pair.serve("tcp", 22);
    await body(program, pair);
  }, programs);
}

async function start(
  program: Program,
  settings: string,
  rules: readonly string[],
): Promise<void> {
  program.configure(settings, [{ name: "alice", policy: rules }]);
  await program.enrol("alice");
  await program.serve();
}

async function read(path: string): Promise<string> {
  const text = () => existsSync(path) ? readFileSync(path, "utf8") : "";
  await until(`${path} is written`, () => text() !== "");
  return text();
}

policy(
  "`once`: the first connection ends the grant, in the kernel",
  async (program, pair) => {
    await start(program, "services: { ssh: tcp/22 }", [
      "open: [ssh]",
      "once: true",
      "for: 10m",
    ]);
    assertEquals((await program.client(["alice"])).stderr, "");
    assert(await pair.canReach(HERE, 22, { keep: "first" }));
    assert(!await pair.canReach(HERE, 22), "a second one does not follow");
    assert(await pair.stillTalks("first"));
    assertEquals((await program.client(["alice"])).stderr, "");
    assert(await pair.canReach(HERE, 22), "a knock again opens again");
  },
);

policy(
  "`kill`: close ends what is connected, and leaves others alone",
  async (program, pair) => {
    await pair.serve("tcp", 2222);
    await start(
      program,
      `services:
  ssh: { listen: tcp/22, kill: true }
  other: tcp/2222`,
      ["open: [ssh, other]", "for: 10m"],
    );
    assertEquals((await program.client(["alice"])).stderr, "");
    assert(await pair.canReach(HERE, 22, { keep: "killed" }));
    assert(await pair.canReach(HERE, 2222, { keep: "kept" }));
    assert(await pair.stillTalks("killed"));
    assertEquals((await program.client(["close", "alice"])).stderr, "");
    assert(!await pair.stillTalks("killed"), "ended");
    assert(await pair.stillTalks("kept"), "a service without kill goes on");
  },
  ["conntrack"],
);

policy(
  "hooks run on open and at the end, with what the grant says",
  async (program, pair) => {
    const opened = join(program.folder, "opened");
    const closed = join(program.folder, "closed");
    const script = `printf '%s|%s|%s' "$1" "$2" "$KNOCK_PORTS" >`;
    await start(
      program,
      `services: { ssh: tcp/22 }
hooks:
  open: [sh, -c, ${
        JSON.stringify(`${script} ${opened}`)
      }, hook, "{client}", "{address}"]
  close: [sh, -c, ${
        JSON.stringify(`${script} ${closed}`)
      }, hook, "{client}", "{address}"]`,
      ["open: [ssh]", "for: 1s"],
    );
    assertEquals((await program.client(["alice"])).stderr, "");
    assertEquals(await read(opened), `alice|${HERE}|tcp/22`);
    assertEquals(await read(closed), `alice|${HERE}|tcp/22`);
    assert(!await pair.canReach(HERE, 22));
  },
);

policy(
  "a hook that fails is said, and the door opens all the same",
  async (program, pair) => {
    await start(
      program,
      `services: { ssh: tcp/22 }
hooks: { open: [no-such-program] }`,
      ["open: [ssh]", "for: 10m"],
    );
    assertEquals((await program.client(["alice"])).code, 0);
    await program.logged("hook no-such-program: cannot run");
    assert(await pair.canReach(HERE, 22));
    assert(!await pair.canReach(NEIGHBOUR, 22));
  },
);

policy(
  "run runs named commands, for those who may, and says how it went",
  async (program) => {
    const file = join(program.folder, "ran");
    await start(
      program,
      `services: { ssh: tcp/22 }
commands:
  mark: [sh, -c, ${JSON.stringify(`echo "for $KNOCK_CLIENT" | tee ${file}`)}]
  bad: [sh, -c, "echo oh no >&2; exit 3"]
  other: ["true"]`,
      ["run: [mark, bad]"],
    );
    const run = (name: string) => program.client(["run", "alice", name]);
    assertEquals([(await run("mark")).code, await read(file)], [
      0,
      "for alice\n",
    ]);
    await program.logged("command mark: for alice");
    const bad = await run("bad");
    assertEquals(bad.code, 1);
    assertMatch(bad.stderr, /^knock: error: /);
    await program.logged("command bad: ended with 3: oh no");
    assertEquals((await run("other")).code, 1);
    await program.logged("a command that this client may not run");
  },
);

policy(
  "a reload that shortens `expires` ends what is open, in the kernel",
  async (program, pair) => {
    const settings = "services: { ssh: tcp/22 }\nfirewall: { backend: nft }";
    const expires = (ms: number) => `expires: ${new Date(ms).toISOString()}`;
    const rules = ["open: [ssh]", "for: 10m"];
    await start(program, settings, [...rules, expires(Date.now() + 300_000)]);
    const said = await program.client(["alice", "--json"]);
    const { seconds } = JSON.parse(said.stdout) as { seconds: number };
    assert(seconds > 200 && seconds < 300, `${seconds} s, not the 600 of for`);
    assert(await pair.canReach(HERE, 22));

    /** Seconds that are left in the kernel, and by `status`. */
    const left = async () => {
      const set = ["nft", "list", "set", "inet", "knock", "allow4"];
      const [, text = ""] = /expires (\w+)/.exec(await pair.onServer(set)) ??
        [];
      const [, m = "0", s = "0"] = /^(?:(\d+)m)?(?:(\d+)s)?/.exec(text)!;
      const status = await program.admin("status", "--json");
      const [grant] = JSON.parse(status.stdout).grants;
      return [Number(m) * 60 + Number(s), grant?.seconds_left ?? 0];
    };
    const reload = async (endMs: number) => {
      const from = program.log.length;
      const policy = [...rules, expires(endMs)];
      program.configure(settings, [{ name: "alice", policy }]);
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
    };
    for (const one of await left()) assert(one > 200 && one <= 300, `${one}`);
    await reload(Date.now() + 100_000);
    for (const one of await left()) assert(one > 30 && one <= 100, `${one}`);
    assert(await pair.canReach(HERE, 22), "still open");
    await reload(Date.now() - 1000);
    assertEquals(await left(), [0, 0]);
    assert(!await pair.canReach(HERE, 22), "shut");
    const refused = await program.client(["alice"]);
    assertEquals(refused.code, 1);
    await program.logged("this client has expired");
  },
);
