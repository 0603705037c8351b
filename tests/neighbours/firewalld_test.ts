/**
 * firewalld as it is delivered, with a bus of its own: what a zone lets in is
 * guarded, what it rejects is not called open, whatever firewalld does.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { netnsTest, type Pair, run, until } from "../netns/netns.ts";
import { Program } from "../netns/program.ts";
import {
  closes,
  HERE,
  NEIGHBOUR,
  opensByKnock,
  staysOpen,
  Watch,
} from "./stage.ts";

const SSH = 22;
const WEB = 8080;

/** A firewalld in the server's namespace, with files of its own. */
class Firewalld {
  readonly #folder = mkdtempSync(join(tmpdir(), "knock-firewalld-"));
  readonly #pair: Pair;
  readonly #bus = join(this.#folder, "bus");
  #children: ChildProcess[] = [];
  #log = "";

  constructor(pair: Pair) {
    this.#pair = pair;
  }

  async start(): Promise<void> {
    const config = join(this.#folder, "etc");
    mkdirSync(config, { recursive: true });
    const bus = join(this.#folder, "bus.conf");
    writeFileSync(
      bus,
      `<busconfig>
  <type>system</type>
  <listen>unix:path=${this.#bus}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow send_requested_reply="true"/>
    <allow receive_type="method_call"/><allow receive_type="method_return"/>
    <allow receive_type="error"/><allow receive_type="signal"/>
  </policy>
</busconfig>
`,
    );
    this.#spawn(["dbus-daemon", `--config-file=${bus}`, "--nofork"]);
    await until("the bus is there", async () => {
      const { code } = await run(["test", "-S", this.#bus]);
      return code === 0;
    });
    // deno-fmt-ignore
    this.#spawn([
      "firewalld", "--nofork", "--nopid", "--system-config", config,
      "--log-file", join(this.#folder, "log"),
    ]);
    await until("firewalld runs", async () => {
      if (this.#children.some(({ exitCode }) => exitCode !== null)) {
        throw new Error(`no firewalld: ${this.#log}`);
      }
      return (await this.#call(["--state"])).code === 0;
    });
  }

  /** Has it do something, by its own command. */
  async tell(...args: string[]): Promise<void> {
    const said = await this.#call(args);
    assertEquals(
      said.code,
      0,
      `firewall-cmd ${args.join(" ")}: ${said.stderr}`,
    );
  }

  async stop(): Promise<void> {
    const children = this.#children.reverse();
    this.#children = [];
    for (const child of children) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => child.on("close", resolve));
      process.kill(child.pid!, "SIGTERM");
      await ended;
    }
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #env(): string {
    return `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${this.#bus}`;
  }

  #call(args: readonly string[]) {
    return this.#pair.exec(this.#pair.server, [
      ...["env", this.#env, "firewall-cmd"],
      ...args,
    ]);
  }

  #spawn(argv: readonly string[]): void {
    const args = ["netns", "exec", this.#pair.server, "env", this.#env];
    const child = spawn("ip", [...args, ...argv], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr!.on("data", (text) => this.#log += text);
    this.#children.push(child);
  }
}

/** Reads what `check --host` says of this host. */
async function checkHost(program: Program): Promise<string> {
  const { stdout, stderr } = await program.admin("check", "--host");
  return stdout + stderr;
}

netnsTest(
  "firewalld: a service of the zone is closed, opens by a knock, and is never open to others",
  async (pair) => {
    const program = new Program(pair);
    const firewalld = new Firewalld(pair);
    try {
      await pair.cableUp();
      await pair.serve("tcp", SSH, WEB);
      await firewalld.start();
      // The zone's own: ssh. Without knock everybody gets in.
      assert(await pair.canReach(NEIGHBOUR, SSH));
      assert(!await pair.canReach(NEIGHBOUR, WEB));
      const alice = (open: string) => [{
        name: "alice",
        policy: [`open: [${open}]`, "for: 10m", "any_address: true"],
      }];
      program.configure(`services: { ssh: tcp/${SSH} }`, alice("ssh"));
      await program.enrol("alice");
      // The knocks themselves: said before, true after the line is typed.
      assertMatch(await checkHost(program), /62201/);
      await firewalld.tell("--add-port=62201/udp");
      await firewalld.tell("--runtime-to-permanent");

      await program.serve();
      const watch = await Watch.start(pair, SSH);
      await opensByKnock(program, pair, SSH);
      await firewalld.tell("--reload");
      await staysOpen(pair, SSH);
      await firewalld.tell("--complete-reload");
      await staysOpen(pair, SSH);
      await firewalld.stop();
      await staysOpen(pair, SSH);
      await firewalld.start();
      await staysOpen(pair, SSH);
      await program.signal("SIGKILL");
      await program.serve();
      await staysOpen(pair, SSH);
      await closes(program, pair, SSH);
      await firewalld.tell("--reload");
      assert(!await pair.canReach(HERE, SSH), "closed");
      await watch.neverOpen();
      await program.signal("SIGTERM");

      // A port that the zone rejects: said at start, and no knock is "open".
      program.configure(`services: { web: tcp/${WEB} }`, alice("web"));
      assertMatch(await checkHost(program), /8080/);
      await program.serve();
      const refused = await program.client(["alice", "--from", HERE]);
      assertEquals(refused.code, 1, refused.stdout);
      assertMatch(refused.stderr, /failed|dropped|reject/);
      assert(!await pair.canReach(HERE, WEB));

      // A rich rule lets one address through: for that one it is true.
      await firewalld.tell(
        "--add-rich-rule",
        `rule family=ipv4 source address=${HERE} port port=${WEB} protocol=tcp accept`,
      );
      await opensByKnock(program, pair, WEB);
      await firewalld.tell("--add-port", `${WEB}/tcp`);
      await staysOpen(pair, WEB);
      await closes(program, pair, WEB);
      await program.signal("SIGTERM");
    } finally {
      await firewalld.remove();
      program.remove();
    }
  },
  ["firewalld", "firewall-cmd", "dbus-daemon"],
);
