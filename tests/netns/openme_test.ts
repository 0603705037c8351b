/** Clients of openme with the whole program: its server, and ours as their client. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { formatOpenmeProfiles } from "../../lib/dialects/openme/enrol.ts";
import {
  publicKeyOf,
  verifyingKeyOf,
} from "../../lib/dialects/crypto/curve25519.ts";
import { parseOpenmeKey } from "../../lib/dialects/openme/keys.ts";
import { OPENME_PORT, sealOpenme } from "../../lib/dialects/openme/open.ts";
import { CLIENTS, type Pair, pass, scriptCommand, SERVER } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const SEED = new Uint8Array(32).fill(4);
const SETTINGS = `
listen: [62201, ${OPENME_PORT}]
services: { ssh: tcp/22, web: tcp/8080 }
defaults: { for: 15s }
`;
const TABLET = {
  name: "tablet",
  keys: `openme: { key: "${verifyingKeyOf(SEED).toBase64()}" }`,
  policy: ["open: [ssh]"],
};

/** A server that an openme client is enrolled at. */
class Door {
  readonly program: Program;
  readonly #pair: Pair;

  constructor(program: Program, pair: Pair) {
    this.program = program;
    this.#pair = pair;
  }

  get serverKey(): Uint8Array {
    const file = join(this.program.folder, "openme.key");
    return publicKeyOf(parseOpenmeKey(readFileSync(file, "utf8").trim())!);
  }

  /** Stores the profile by openme's own client file. */
  async enrol(): Promise<void> {
    const text = formatOpenmeProfiles([{
      name: "home",
      server: { host: SERVER[4], port: OPENME_PORT },
      serverKey: this.serverKey,
      seed: SEED,
      key: verifyingKeyOf(SEED),
      postKnock: null,
    }]);
    const said = await this.program.client(["import", "-"], text);
    assertEquals(said.code, 0, said.stderr);
  }

  seal(address: string | null = null, ageMs = 0): Uint8Array {
    const random = (size: number) =>
      crypto.getRandomValues(new Uint8Array(size));
    return sealOpenme(
      {
        server: this.serverKey,
        key: SEED,
        ephemeral: random(32),
        nonce: random(12),
        random: random(16),
      },
      address,
      BigInt(Date.now() - ageMs) * 1_000_000n,
    );
  }

  /** Sends a packet from an address; resolves a while after it must have come. */
  async send(packet: Uint8Array, source: string = HERE): Promise<void> {
    assert(await this.#pair.send(source, OPENME_PORT, 1, packet.toHex()));
    await pass(100);
  }
}

function door(name: string, body: (door: Door, pair: Pair) => Promise<void>) {
  programTest(name, async (program, pair) => {
    const door = new Door(program, pair);
    door.program.configure(SETTINGS, [TABLET]);
    await pair.serve("tcp", 22);
    await body(door, pair);
  });
}

door(
  "openme: shut, knock, open, shut again; for nobody else",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    const key = join(program.folder, "openme.key");
    assertMatch(program.log, /info made the key "\S+openme\.key"/);
    assertEquals(statSync(key).mode & 0o777, 0o600);
    await door.enrol();
    assert(!await pair.canReach(HERE, 22));
    const said = await program.client(["home"]);
    assertEquals([said.code, said.stdout, said.stderr], [0, "", ""]);
    await program.logged("open tablet");
    assert(await pair.canReach(HERE, 22));
    assert(!await pair.canReach(NEIGHBOUR, 22));
    await pair.shuts(HERE, 22);
    const waited = await program.client(["home", "--wait", "--open", "tcp/22"]);
    assertEquals([waited.code, waited.stderr], [0, ""]);
    const { stdout } = await program.admin("log");
    assertMatch(stdout, /open tablet 10\.77\.0\.2 tcp\/22 .*for 15s/);
  },
);

door(
  "openme: a packet opens once, in a restart's other life and from elsewhere too",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    const packet = door.seal();
    await door.send(packet);
    await pair.opens(HERE, 22);
    await door.send(packet, NEIGHBOUR);
    assert(!await pair.canReach(NEIGHBOUR, 22), "a copy from elsewhere");
    assertEquals(await program.signal("SIGKILL"), null);
    await program.serve();
    assert(await pair.canReach(HERE, 22), "a grant outlives the server");
    await pair.shuts(HERE, 22);
    await door.send(packet);
    await door.send(packet, NEIGHBOUR);
    assert(!await pair.canReach(HERE, 22), "a copy after the restart");
    assert(!await pair.canReach(NEIGHBOUR, 22));
  },
);

door(
  "openme: stale, of another source, and of a client that is gone",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    await door.send(door.seal(null, 121_000));
    await program.logged("its time stamp is 121 s behind");
    assert(!await pair.canReach(HERE, 22), "stale");
    await door.send(door.seal(NEIGHBOUR));
    await program.logged("the address named is not the packet's source");
    assert(!await pair.canReach(NEIGHBOUR, 22), "of another source");
    await door.send(door.seal(HERE));
    await pair.opens(HERE, 22); // of its own
    program.configure(`${SETTINGS}`, []);
    await program.signal("SIGHUP");
    await program.logged("reloaded");
    assert(!await pair.canReach(HERE, 22), "a client that is gone");
    await door.send(door.seal());
    assert(!await pair.canReach(HERE, 22));
  },
);

door(
  "openme: a converted configuration, and a client that was enrolled before",
  async (door, pair) => {
    const { program } = door;
    const key = new Uint8Array(32).fill(9);
    program.write("openme.key", key.toBase64());
    await door.enrol();
    program.write(
      "old.yaml",
      `server:
  udp_port: ${OPENME_PORT}
  knock_timeout: 15s
  drop_ports: true
  private_key: ${key.toBase64()}
ports: { default: [22/tcp] }
clients:
  tablet: { ed25519_pubkey: "${verifyingKeyOf(SEED).toBase64()}" }
`,
    );
    const knock = (...args: string[]) =>
      scriptCommand("../../main.ts", ...args);
    const old = join(program.folder, "old.yaml");
    const dir = join(program.folder, "new");
    const config = join(dir, "server.yaml");
    await pair.onServer(knock("convert", "openme", old, "--dir", dir));
    assertEquals(
      await pair.onServer(knock("check", config)),
      "configuration OK\n",
    );
    await program.serveBy(knock("serve", "--config", config));
    assert(!await pair.canReach(HERE, 22));
    assertEquals((await program.client(["home"])).code, 0);
    await program.logged("open tablet");
    assert(await pair.canReach(HERE, 22));
    await pair.shuts(HERE, 22);
  },
);
