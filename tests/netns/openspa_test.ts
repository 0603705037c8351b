/** Clients of OpenSPA with the whole program: its server, and ours as their client. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { formatOspa } from "../../lib/dialects/openspa/enrol.ts";
import {
  parseRsaPrivateKey,
  parseRsaPublicKey,
  rsaPublicPem,
} from "../../lib/dialects/crypto/rsa.ts";
import { parseAdkSecret } from "../../lib/dialects/openspa/adk.ts";
import { OPENSPA_PORT, sealOpenspa } from "../../lib/dialects/openspa/open.ts";
import { parseUuid } from "../../lib/values/bytes.ts";
import { CLIENT_PRIVATE_PEM, CLIENT_PUBLIC_PEM } from "../fakes/rsa.ts";
import { CLIENTS, type Pair, pass, SERVER } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const UUID = "c3b66a05-9098-4100-8141-be5695ada0e7";
const ADK = "7O4ZIRI";
const SETTINGS = `
listen: [62201, ${OPENSPA_PORT}]
openspa: { key: own.pem, adk_secret: ${ADK} }
services: { ssh: tcp/22, web: tcp/8080-8090 }
defaults: { for: 2s }
`;
const BOX = {
  name: "box",
  keys: `openspa: { uuid: ${UUID}, key: box.pem }`,
  policy: ["open: [ssh, web]"],
};

interface Sealing {
  readonly address?: string;
  readonly ports?: readonly [first: number, last: number];
  readonly ageMs?: number;
  readonly adk?: string;
  readonly target?: string;
}

/** A server that an OpenSPA client is enrolled at. */
class Door {
  readonly program: Program;
  readonly #pair: Pair;

  constructor(program: Program, pair: Pair) {
    this.program = program;
    this.#pair = pair;
  }

  /** The server's public key in PEM. */
  get serverKey(): string {
    const pem = readFileSync(join(this.program.folder, "own.pem"), "utf8");
    return rsaPublicPem(parseRsaPrivateKey(pem)!);
  }

  /** Stores the profile by an OSPA file. */
  async enrol(): Promise<void> {
    const text = formatOspa({
      uuid: UUID,
      server: { host: SERVER[4], port: OPENSPA_PORT },
      adkSecret: ADK,
      privateKey: CLIENT_PRIVATE_PEM,
      publicKey: CLIENT_PUBLIC_PEM,
      serverKey: this.serverKey,
    });
    const args = ["import", "-", "--name", "home"];
    const said = await this.program.client(args, text);
    assertEquals(said.code, 0, said.stderr);
  }

  seal(
    {
      address = HERE,
      ports = [22, 22],
      ageMs = 0,
      adk = ADK,
      target = SERVER[4],
    }: Sealing = {},
  ): Uint8Array {
    const [first, last] = ports;
    return sealOpenspa(
      {
        uuid: parseUuid(UUID)!,
        key: parseRsaPrivateKey(CLIENT_PRIVATE_PEM)!,
        server: parseRsaPublicKey(this.serverKey)!,
        adk_secret: parseAdkSecret(adk),
        random: crypto.getRandomValues(new Uint8Array(32)),
      },
      { ports: { protocol: "tcp", first, last }, address, target },
      Date.now() - ageMs,
    ).packet;
  }

  /** Sends a packet from an address; resolves a while after it must have come. */
  async send(packet: Uint8Array, source: string = HERE): Promise<void> {
    assert(await this.#pair.send(source, OPENSPA_PORT, 1, packet.toHex()));
    await pass(100);
  }
}

function door(name: string, body: (door: Door, pair: Pair) => Promise<void>) {
  programTest(name, async (program, pair) => {
    const door = new Door(program, pair);
    door.program.configure(SETTINGS, [BOX]);
    door.program.write("box.pem", CLIENT_PUBLIC_PEM);
    await pair.serve("tcp", 22);
    await body(door, pair);
  });
}

door(
  "OpenSPA: shut, knock, open, shut again; the answer says so",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    const key = join(program.folder, "own.pem");
    assertMatch(program.log, /info made the key "\S+own\.pem"/);
    assertEquals(statSync(key).mode & 0o777, 0o600);
    await door.enrol();
    assert(!await pair.canReach(HERE, 22));
    const said = await program.client([
      "home",
      "--open",
      "tcp/22",
      "--from",
      HERE,
    ]);
    assertEquals([said.code, said.stdout, said.stderr], [0, "", ""]);
    assert(await pair.canReach(HERE, 22));
    assert(!await pair.canReach(NEIGHBOUR, 22));
    await pass(2300);
    assert(!await pair.canReach(HERE, 22));
    // Like OpenSPA's own server it is silent: its client takes any answer for
    // a grant.
    const no = await program.client(["home", "--open", "tcp/23", "--tries=1"]);
    assertEquals(no.code, 1);
    assertMatch(no.stderr, /no answer/);
    await program.logged("a port that this client may not open");
    const { stdout } = await program.admin("log");
    assertMatch(stdout, /open box 10\.77\.0\.2 tcp\/22 .*for 2s/);
  },
);

door("OpenSPA: a range within what the client may", async (door, pair) => {
  const { program } = door;
  await pair.serve("tcp", 8085);
  await program.serve();
  await door.send(door.seal({ ports: [8084, 8091] }));
  assert(!await pair.canReach(HERE, 8085), "one port too many");
  await door.send(door.seal({ ports: [8084, 8086] }));
  assert(await pair.canReach(HERE, 8085));
});

door(
  "OpenSPA: our client asks for a range, and opens it",
  async (door, pair) => {
    const { program } = door;
    await pair.serve("tcp", 8085);
    await program.serve();
    await door.enrol();
    const args = ["home", "--from", HERE, "--open"];
    const said = await program.client([...args, "tcp/8084-8086"]);
    assertEquals([said.code, said.stderr], [0, ""]);
    assert(await pair.canReach(HERE, 8085));
  },
);

door("OpenSPA: a service elsewhere is told and shut", async (door, pair) => {
  const { program } = door;
  await program.serve();
  await door.send(door.seal({ target: "10.99.0.9" }));
  await program.logged("is not one of this machine");
  assert(!await pair.canReach(HERE, 22));
});

door(
  "OpenSPA: a packet opens once, in a restart's other life too",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    const packet = door.seal();
    await door.send(packet);
    assert(await pair.canReach(HERE, 22));
    assertEquals(await program.signal("SIGKILL"), null);
    await program.serve();
    assert(await pair.canReach(HERE, 22), "a grant outlives the server");
    await pass(2300);
    await door.send(packet);
    assert(!await pair.canReach(HERE, 22), "a copy after the restart");
  },
);

door(
  "OpenSPA: stale, of another source, with a wrong ADK proof",
  async (door, pair) => {
    const { program } = door;
    await program.serve();
    await door.send(door.seal({ ageMs: 3_600_000 }));
    assert(!await pair.canReach(HERE, 22), "stale");
    await door.send(door.seal({ adk: "AAAAAAA" }));
    assert(!await pair.canReach(HERE, 22), "without the secret");
    await door.send(door.seal(), NEIGHBOUR);
    await program.logged("the address named is not the packet's source");
    assert(!await pair.canReach(HERE, 22), "for another address");
    assert(!await pair.canReach(NEIGHBOUR, 22));
    await door.send(door.seal());
    assert(await pair.canReach(HERE, 22));
    const { stdout } = await program.admin("status", "--json");
    assertMatch(stdout, /"refused_adk":\s*2/);
  },
);
