/**
 * ufw as it is delivered, with files of its own: what it allows is guarded,
 * what it denies is not called open, whatever ufw does.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { netnsTest, type Pair } from "../netns/netns.ts";
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

/** ufw in the server's namespace. */
class Ufw {
  readonly #folder = mkdtempSync(join(tmpdir(), "knock-ufw-"));
  readonly #pair: Pair;

  constructor(pair: Pair) {
    this.#pair = pair;
    cpSync("/etc/ufw", join(this.#folder, "ufw"), { recursive: true });
    cpSync("/etc/default/ufw", join(this.#folder, "default"));
  }

  /** Has it do something, by its own command. */
  async tell(...args: string[]): Promise<void> {
    // A namespace of its own has mounts of its own, for as long as it runs.
    const script = `mount --bind "$0/ufw" /etc/ufw
mount --bind "$0/default" /etc/default/ufw
exec ufw "$@"`;
    const said = await this.#pair.exec(
      this.#pair.server,
      ["sh", "-ec", script, this.#folder, ...args],
    );
    assertEquals(said.code, 0, `ufw ${args.join(" ")}: ${said.stderr}`);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

for (const backend of ["nft", "iptables"] as const) {
  netnsTest(
    `ufw and ${backend}: an allowed service is closed, opens by a knock, and is never open to others`,
    async (pair) => {
      const program = new Program(pair);
      const ufw = new Ufw(pair);
      const configure = (service: string) =>
        program.configure(
          `firewall: { backend: ${backend} }\nservices: { ${service} }`,
          [{
            name: "alice",
            policy: ["open: all", "for: 10m", "any_address: true"],
          }],
        );
      const host = async () => {
        const { stdout, stderr } = await program.admin("check", "--host");
        return stdout + stderr;
      };
      try {
        await pair.cableUp();
        await pair.serve("tcp", SSH, WEB);
        await ufw.tell("allow", `${SSH}/tcp`);
        await ufw.tell("--force", "enable");
        assert(await pair.canReach(NEIGHBOUR, SSH));
        assert(!await pair.canReach(NEIGHBOUR, WEB));
        configure(`ssh: tcp/${SSH}`);
        await program.enrol("alice");
        assertMatch(await host(), /62201/);
        await ufw.tell("allow", "62201/udp");

        await program.serve();
        const watch = await Watch.start(pair, SSH);
        await opensByKnock(program, pair, SSH);
        await ufw.tell("reload");
        await staysOpen(pair, SSH);
        await ufw.tell("limit", `${SSH}/tcp`);
        await ufw.tell("allow", `${SSH}/tcp`);
        await ufw.tell("disable");
        await staysOpen(pair, SSH);
        await ufw.tell("--force", "enable");
        await staysOpen(pair, SSH);
        await program.signal("SIGKILL");
        await program.serve();
        await staysOpen(pair, SSH);
        await closes(program, pair, SSH);
        await ufw.tell("reload");
        assert(!await pair.canReach(HERE, SSH), "closed");
        await watch.neverOpen();
        await program.signal("SIGTERM");

        // A port that ufw denies: said at start, and no knock is "open".
        configure(`web: tcp/${WEB}`);
        assertMatch(await host(), /8080/);
        await program.serve();
        const refused = await program.client(["alice", "--from", HERE]);
        assertEquals(refused.code, 1, refused.stdout);
        assert(!await pair.canReach(HERE, WEB));
        await ufw.tell("allow", `${WEB}/tcp`);
        await opensByKnock(program, pair, WEB);
        await closes(program, pair, WEB);
        await program.signal("SIGTERM");
      } finally {
        ufw.remove();
        program.remove();
      }
    },
    ["ufw", "iptables"],
  );
}
