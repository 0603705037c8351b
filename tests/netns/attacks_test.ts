/** Attacks that must fail, tried with the whole program and the real kernel. */

import { assert, assertEquals } from "@std/assert";
import { parseEnrolment } from "../../lib/client/profile/enrolment.ts";
import { fwknopRandom, sealFwknop } from "../../lib/dialects/fwknop/seal.ts";
import {
  MAC_AT,
  macOf,
  tagOf,
  windowOf,
} from "../../lib/dialects/knock1/tag.ts";
import { CLIENTS, type Pair } from "./netns.ts";
import { KNOCK_PORT, type Program, programTest } from "./program.ts";
import { sealKnock } from "../../lib/dialects/knock1/seal.ts";

const [HERE] = CLIENTS[4];

function attack(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
) {
  programTest(name, async (program, pair) => {
    await pair.serve("tcp", 22);
    await body(program, pair);
  });
}

attack(
  "a used single-use grant is not given back by who shares the address",
  async (program, pair) => {
    program.configure("services: { ssh: tcp/22, web: tcp/8080 }", [
      { name: "alice", policy: ["open: [ssh]", "once: true", "for: 10m"] },
      { name: "mallory", policy: ["open: [web]", "for: 10m"] },
    ]);
    await program.enrol("alice");
    await program.enrol("mallory");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    assert(await pair.canReach(HERE, 22, { keep: "first" }));
    assertEquals((await program.client(["mallory"])).code, 0);
    assertEquals((await program.client(["close", "mallory"])).code, 0);
    assert(!await pair.canReach(HERE, 22));
    assert(await pair.stillTalks("first"));
  },
);

attack(
  "a client that is removed while the server is down has nothing open after its start",
  async (program, pair) => {
    const services = "services: { ssh: tcp/22 }";
    const alice = { name: "alice", policy: ["open: [ssh]", "for: 10m"] };
    program.configure(services, [alice, { ...alice, name: "bob" }]);
    await program.enrol("alice");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    assert(await pair.canReach(HERE, 22));
    await program.signal("SIGKILL");
    program.configure(services, [{ ...alice, name: "bob" }]);
    await program.serve();
    assert(!await pair.canReach(HERE, 22));
  },
);

attack(
  "another backend takes over by a reload, and back, and grants stay",
  async (program, pair) => {
    const alice = { name: "alice", policy: ["open: [ssh]", "for: 10m"] };
    const configure = (backend: string) =>
      program.configure(
        `firewall: { backend: ${backend} }\nservices: { ssh: tcp/22 }`,
        [alice],
      );
    configure("nft");
    await program.enrol("alice");
    await program.serve();
    assertEquals((await program.client(["alice"])).code, 0);
    for (const backend of ["iptables", "nft"]) {
      const from = program.log.length;
      configure(backend);
      await program.signal("SIGHUP");
      await program.logged("info reloaded", from);
      assert(!/error|warn/.test(program.log.slice(from)), program.log);
      assert(await pair.canReach(HERE, 22), backend);
    }
    assertEquals((await program.client(["close", "alice"])).code, 0);
    assert(!await pair.canReach(HERE, 22));
  },
);

/** Packets of each kind; a limit of 20 a second for their source would last for minutes. */
const FLOOD = 3000;

const random = (size: number) => crypto.getRandomValues(new Uint8Array(size));

/** Packets of a stranger who forges source addresses, and of a malicious client. */
function forgeries(enrolment: string): Record<string, Uint8Array> {
  const { server, key, psk } = parseEnrolment(enrolment);
  const nowMs = Date.now();
  const tagged = random(216);
  tagged.set(tagOf(server, windowOf(nowMs)));
  const withMac = new Uint8Array(tagged);
  withMac.set(macOf(server)(withMac.subarray(0, MAC_AT)), MAC_AT);
  const ports = [{ protocol: "tcp", first: 22, last: 22 }] as const;
  const asked = { action: "open", ports, command: null, seconds: 0 } as const;
  const keys = { server, key: key!, psk, ephemeral: random(32) };
  const copy = { ...asked, address: null, code: null, wantsReply: false };
  return {
    "of fwknop's form": sealFwknop(
      {
        key: random(32),
        mode: "cbc",
        hmac: { type: "sha256", key: random(64) },
      },
      {
        ...asked,
        address: HERE,
        forward: null,
        user: "phone",
        checksum: "sha256",
      },
      fwknopRandom(random(16)),
      nowMs,
    ),
    "with the right tag": tagged,
    "with the right tag and mac": withMac,
    "that copy a knock": sealKnock(keys, copy, nowMs).packet,
  };
}

for (
  const [words, withFwknop] of [["", false], [", two dialects", true]] as const
) {
  attack(
    `packets that bear a client's address do not lock it out${words}`,
    async (program, pair) => {
      const client = { policy: ["open: [ssh]", "for: 10m"] };
      const fwknop = `fwknop: { key_base64: ${random(32).toBase64()}, ` +
        `hmac_key_base64: ${random(64).toBase64()} }`;
      program.configure("services: { ssh: tcp/22 }", [
        { name: "alice", ...client },
        { name: "bob", ...client },
        ...withFwknop ? [{ name: "phone", keys: fwknop, ...client }] : [],
      ]);
      await program.enrol("alice");
      await program.enrol("bob");
      await program.serve();
      const forged = Object.entries(forgeries(program.enrolment("alice")));
      for (const [words, packet] of forged) {
        await pair.send(HERE, KNOCK_PORT, FLOOD, packet.toHex());
        for (const name of ["alice", "bob"]) {
          // On a busy machine what was sent takes seconds to refuse.
          const said = await program.client([name, "--tries", "10"]);
          assertEquals(said.code, 0, `${name}, ${words}: ${said.stderr}`);
          assert(await pair.canReach(HERE, 22));
          await program.client(["close", name]);
        }
      }
    },
  );
}
