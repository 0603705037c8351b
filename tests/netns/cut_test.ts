/** Services with `cut`: connections end with their grant, and do not come back. */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CLIENTS, type Pair, pass, scriptCommand, until } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [A, B] = CLIENTS[4];
const [A6] = CLIENTS[6];

/** A host that drops by default, for mode accept. */
const HOST = `table inet filter {
  chain knock {
  }
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto ipv6-icmp accept
    udp dport 62201 accept
    jump knock
  }
}
`;

const FIREWALLS: [string, string, string[]][] = [
  ["nft guard", "firewall: { backend: nft }", []],
  ["nft accept", "firewall: { backend: nft, mode: accept }", []],
  ["iptables guard", "firewall: { backend: iptables }", ["iptables"]],
];

const SERVICES = `services:
  ssh: { listen: [tcp/22, udp/51820], cut: true }
  other: tcp/2222
`;

/** Runs a program for which there is no conntrack, in whichever folder. */
const HIDING = 'mount --bind /dev/null "$(command -v conntrack)" && exec "$@"';

/** Two clients at one address: alice for some seconds, bob for ten minutes. */
async function start(
  program: Program,
  pair: Pair,
  firewall: string,
  more: string[] = [],
): Promise<void> {
  if (firewall.includes("accept")) {
    await pair.onServer(["nft", "-f", "-"], HOST);
  }
  await pair.serve("tcp", 22, 2222);
  await pair.serve("udp", 51820);
  program.configure(`${firewall}\n${SERVICES}`, [
    { name: "alice", policy: ["open: [ssh, other]", "for: 3s", ...more] },
    { name: "bob", policy: ["open: [ssh]", "for: 10m"] },
  ]);
  await program.enrol("alice");
  await program.enrol("bob");
  await program.serve();
}

async function knock(program: Program, ...args: string[]): Promise<void> {
  const said = await program.client(args);
  assertEquals(said.code, 0, said.stderr);
}

function ends(pair: Pair, keep: string): Promise<void> {
  return until(`${keep} ends`, async () => !await pair.stillTalks(keep));
}

/** Connections to the services that the kernel knows. */
async function tracked(pair: Pair): Promise<string[]> {
  const all = await pair.onServer(["conntrack", "-L"]);
  return all.split("\n").filter((line) =>
    /^\S+ .*? dport=(22|51820) /.test(line)
  );
}

for (const [name, firewall, programs] of FIREWALLS) {
  programTest(
    `cut (${name}): what is connected ends with its grant, and stays ended`,
    async (program, pair) => {
      await start(program, pair, firewall);
      await knock(program, "alice");
      for (const [port, keep] of [[22, "cut"], [2222, "kept"]] as const) {
        assert(await pair.canReach(A, port, { keep }));
        assert(await pair.stillTalks(keep));
      }
      assert(await pair.canReach(A, 51820, { protocol: "udp" }));
      await ends(pair, "cut");
      assert(await pair.stillTalks("kept"), "a service without cut goes on");
      // The service itself speaks: the kernel must not take that for a new connection.
      assert(await pair.push());
      await pass(200);
      assert(await pair.push());
      assert(!await pair.stillTalks("cut"));
      assert(!await pair.stillTalks("cut"));
      assertEquals(await tracked(pair), []);
      assert(!await pair.canReach(A, 22));
      assert(await pair.stillTalks("kept"));
      // A new grant opens for new connections.
      await knock(program, "bob");
      assert(await pair.canReach(A, 22, { keep: "again" }));
      assert(await pair.stillTalks("again"));
    },
    ["conntrack", ...programs],
  );
}

programTest(
  "cut: a connection lasts while any grant allows it, and ends by close",
  async (program, pair) => {
    await start(program, pair, "firewall: { backend: nft }");
    await knock(program, "alice");
    await knock(program, "bob");
    assert(await pair.canReach(A, 22, { keep: "shared" }));
    await until("alice's grant is over", async () => {
      const { stdout } = await program.admin("status", "--json");
      return !JSON.parse(stdout).grants.some((one: { client: string }) =>
        one.client === "alice"
      );
    });
    assert(await pair.stillTalks("shared"));
    await knock(program, "close", "bob");
    await ends(pair, "shared");
    assert(await pair.push());
    assert(!await pair.stillTalks("shared"));
    // So does the removal of a client.
    await knock(program, "bob");
    assert(await pair.canReach(A, 22, { keep: "removed" }));
    assertEquals((await program.admin("client", "remove", "bob")).code, 0);
    await program.signal("SIGHUP");
    await ends(pair, "removed");
  },
  ["conntrack"],
);

programTest(
  "cut: of a network, and by the next start of a server that was killed",
  async (program, pair) => {
    const more = ["network: { ipv4: 28 }"];
    await start(program, pair, "firewall: { backend: nft }", more);
    await knock(program, "alice");
    assert(await pair.canReach(A, 22, { keep: "a" }));
    assert(await pair.canReach(B, 22, { keep: "b" }));
    await program.signal("SIGKILL");
    await pair.shuts(A, 22);
    // The kernel ends the grant alone; what is connected goes on meanwhile.
    assert(await pair.stillTalks("a"));
    await program.serve();
    await ends(pair, "a");
    await ends(pair, "b");
    assert(!await pair.canReach(A6, 22));
  },
  ["conntrack"],
);

programTest(
  "cut: without the program conntrack the server does not start, and says why",
  async (program) => {
    program.configure(`firewall: { backend: nft }\n${SERVICES}`, [
      { name: "alice", policy: ["open: [ssh]"] },
    ]);
    const argv = scriptCommand(
      "../../main.ts",
      ...["serve", "--config", program.config],
    );
    const error = await assertRejects(() =>
      program.serveBy(["unshare", "--mount", "sh", "-c", HIDING, "sh", ...argv])
    );
    assertMatch(
      (error as Error).message,
      /error: services\.ssh\.cut needs the program conntrack, which is not installed\n.*hint: apt install conntrack/,
    );
  },
  ["conntrack", "unshare"],
);

programTest(
  "cut: the program conntrack is found where the PATH does not name its folder",
  async (program, pair) => {
    program.configure(`firewall: { backend: nft }\n${SERVICES}`, [
      { name: "alice", policy: ["open: [ssh]"] },
    ]);
    const argv = scriptCommand(
      "../../main.ts",
      ...["serve", "--config", program.config],
    );
    await pair.serve("tcp", 22);
    await program.enrol("alice");
    await program.serveBy(["env", "PATH=/nonexistent", ...argv]);
    await knock(program, "alice");
    assert(await pair.canReach(A, 22, { keep: "a" }));
    await knock(program, "close", "alice");
    await ends(pair, "a");
  },
  ["conntrack"],
);
