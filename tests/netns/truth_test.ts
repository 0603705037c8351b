/** Truth at the server: what it calls open is open; what the host drops is "failed". */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync } from "node:fs";
import { CLIENTS, type Pair, pass, scriptCommand } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [A] = CLIENTS[4];

/** A host's own rules: knocks come in, and not much else. */
const NFT_DROPS = `table inet filter {
  chain knock { }
  chain input { type filter hook input priority 0; policy drop;
    ct state established,related accept
    iif lo accept
    meta l4proto ipv6-icmp accept
    udp dport 62201 accept
  }
}`;
const SAVE_DROPS = `*filter
:INPUT DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p udp --dport 62201 -j ACCEPT
COMMIT
`;

type Host = (pair: Pair) => Promise<unknown>;

const nft = (rules: string): Host => (pair) =>
  pair.onServer(["nft", "-f", "-"], rules + "\n");
const iptables = (rules: string, kind = "nft"): Host => (pair) =>
  pair.onServer([`iptables-${kind}-restore`], rules);

const ssh = "-A INPUT -p tcp --dport 22 -j ACCEPT\nCOMMIT";

const table: [
  name: string,
  host: Host | null,
  firewall: string,
  opens: boolean,
  programs?: string[],
][] = [
  ["plain, nft guard", null, "{ backend: nft }", true],
  ["plain, iptables guard", null, "{ backend: iptables }", true],
  ["nft drops, nft guard", nft(NFT_DROPS), "{ backend: nft }", false],
  ["nft drops, iptables guard", nft(NFT_DROPS), "{ backend: iptables }", false],
  [
    "nft drops and lets it through, nft guard",
    nft(
      NFT_DROPS.replace("62201 accept", "62201 accept\n tcp dport 22 accept"),
    ),
    "{ backend: nft }",
    true,
  ],
  [
    "nft drops and jumps, nft accept",
    nft(NFT_DROPS.replace("62201 accept", "62201 accept\n jump knock")),
    "{ backend: nft, mode: accept }",
    true,
  ],
  [
    "nft drops and does not jump, nft accept",
    nft(NFT_DROPS),
    "{ backend: nft, mode: accept }",
    false,
  ],
  [
    "nft drops, iptables accept",
    nft(NFT_DROPS),
    "{ backend: iptables, mode: accept }",
    false,
  ],
  [
    "iptables drops, nft guard",
    iptables(SAVE_DROPS),
    "{ backend: nft }",
    false,
  ],
  [
    "iptables drops, iptables guard",
    iptables(SAVE_DROPS),
    "{ backend: iptables }",
    false,
  ],
  [
    "iptables drops, iptables accept",
    iptables(SAVE_DROPS),
    "{ backend: iptables, mode: accept }",
    true,
  ],
  [
    "iptables drops and lets it through, nft guard",
    iptables(SAVE_DROPS.replace("COMMIT", ssh)),
    "{ backend: nft }",
    true,
  ],
  [
    "iptables-legacy drops, nft guard",
    iptables(SAVE_DROPS, "legacy"),
    "{ backend: nft }",
    false,
    ["iptables-legacy-restore"],
  ],
  [
    "another source is let through, nft guard",
    nft(
      NFT_DROPS.replace(
        "62201 accept",
        "62201 accept\n ip saddr 192.0.2.7 tcp dport 22 accept\n meta nfproto ipv6 accept",
      ),
    ),
    "{ backend: nft }",
    false,
  ],
];

for (const [name, host, firewall, opens, programs = []] of table) {
  programTest(
    `truth: ${name}: ${opens ? "opens" : "fails"}`,
    async (program, pair) => {
      program.configure(
        `listen: [62201]\nfirewall: ${firewall}\nservices: { ssh: tcp/22 }`,
        [{ name: "alice", policy: ["open: [ssh]"] }],
      );
      await pair.serve("tcp", 22);
      await host?.(pair);
      const checked = await program.admin("check", "--host");
      // An input chain that lets one address through is no sure drop before it is known who knocks.
      const isSure = !name.startsWith("another source");
      assertEquals(checked.code, opens || !isSure ? 0 : 1, checked.stderr);
      assertEquals(checked.stdout, "configuration OK\n");
      await program.serve();
      await program.enrol("alice");
      const knocked = await program.client(["alice"]);
      assertEquals(await pair.canReach(A, 22), opens);
      assertEquals(knocked.code, opens ? 0 : 1, knocked.stderr + program.log);
      const status = JSON.parse(
        (await program.admin("status", "--json")).stdout,
      );
      const services =
        (status.dropped_by_host as { what: string; ports: string[] }[])
          .filter(({ what }) => what === "service")
          .flatMap(({ ports }) => ports);
      if (opens) {
        assertEquals(status.grants.length, 1);
        return;
      }
      assertMatch(knocked.stderr, /the server's firewall failed/);
      assertEquals(status.grants, []);
      assertMatch(program.log, /failed alice .* tcp\/22: /);
      // One line names what is dropped, not two.
      assert(!program.log.includes("no knock can open"), program.log);
      assertEquals(services.includes("tcp/22"), isSure);
      if (isSure) {
        assertMatch(checked.stderr, /knock: error: tcp\/22.*\nknock: hint: /);
        assertMatch(
          (await program.admin("status")).stdout,
          /warning: tcp\/22.* stays closed after a knock: /,
        );
      }
    },
    ["iptables", ...programs],
  );
}

function job(
  name: string,
  body: (program: Program, pair: Pair) => Promise<void>,
): void {
  programTest(name, async (program, pair) => {
    program.configure("services: { ssh: tcp/22 }", [
      { name: "alice", policy: ["open: [ssh]"] },
    ]);
    await pair.serve("tcp", 22);
    await nft(NFT_DROPS)(pair);
    await body(program, pair);
  });
}

job(
  "a trial counts no knock that the host would drop",
  async (program, pair) => {
    await program.serve("--trial", "3s");
    assertMatch(
      program.log,
      /warn.* tcp\/22: stays closed after a knock: dropped by the host's own rules: the policy of chain input of table inet filter; allow it there/,
    );
    await program.enrol("alice");
    assertEquals((await program.client(["alice"])).code, 1);
    assertEquals(await program.ended(), 1);
    assertMatch(program.log, /no knock has opened anything within 3s/);
    assertEquals(await pair.canReach(A, 22), false);
  },
);

job(
  "a hint mends it at once, and what comes later is found",
  async (program, pair) => {
    await program.serve();
    await program.enrol("alice");
    assertEquals((await program.client(["alice", "--for", "1s"])).code, 1);
    const [, line] = /knock alone opens it: nft (.*?);/.exec(program.log)!;
    await pair.onServer(["nft", ...line!.split(" ")]);
    await pass(1000);
    assertEquals((await program.client(["alice", "--for", "1s"])).code, 0);
    assert(await pair.canReach(A, 22));
    assertMatch(program.log, /host's own rules let grants through again/);
    await pair.onServer([
      "nft",
      "insert rule inet filter input tcp dport 22 drop",
    ]);
    await program.logged('rule "tcp dport 22 drop" in chain input');
    assertEquals((await program.client(["alice"])).code, 1);
    assert(!await pair.canReach(A, 22));
  },
);

const inits: [
  name: string,
  host: Host | null,
  args: string[],
  want: RegExp,
  says: RegExp,
][] = [
  ["plain", null, [], /backend: nft\n {2}mode: guard\n/, /^wrote .*\nnext:/],
  [
    "iptables drops",
    async (pair) => {
      for (const kind of ["iptables", "ip6tables"]) {
        const rules = SAVE_DROPS.replace(
          "COMMIT",
          "-A INPUT -p ipv6-icmp -j ACCEPT\nCOMMIT",
        );
        await pair.onServer([`${kind}-restore`], rules);
      }
    },
    [],
    /backend: iptables\n {2}mode: accept\n/,
    /mode accept, as tcp\/22 is dropped by .*policy of chain INPUT of table ip filter/,
  ],
  [
    "iptables drops IPv4 alone",
    iptables(SAVE_DROPS),
    [],
    /backend: nft\n {2}mode: guard\n/,
    /tcp\/22 is dropped .*; allow it there: iptables -I INPUT -p tcp --dport 22 -j ACCEPT\n/,
  ],
  [
    "nft drops",
    nft(NFT_DROPS),
    [],
    /backend: nft\n {2}mode: accept\n/,
    /nft insert rule inet filter input jump knock\n/,
  ],
  [
    "nft drops in another table",
    nft(NFT_DROPS.replace("inet filter", "inet house")),
    [],
    /backend: nft\n {2}mode: accept\n {2}chain: inet house knock\n/,
    /nft insert rule inet house input jump knock\n/,
  ],
  [
    "nft drops, guard is wanted",
    nft(NFT_DROPS),
    ["--mode", "guard"],
    /backend: nft\n {2}mode: guard\n/,
    /allow it there: nft insert rule inet filter input tcp dport 22 accept\n/,
  ],
];

for (const [name, host, args, want, says] of inits) {
  programTest(
    `init asks the host's rules: ${name}`,
    async (program, pair) => {
      await host?.(pair);
      const dir = `${program.folder}/new`;
      const said = await pair.exec(
        pair.server,
        scriptCommand("../../main.ts", "init", "--dir", dir, ...args),
      );
      assertEquals(said.code, 0, said.stderr);
      assertMatch(readFileSync(`${dir}/server.yaml`, "utf8"), want);
      assertMatch(said.stderr, says);
      // What it says to type is all that is missing.
      const lines = said.stderr.matchAll(
        /(?:^ {4}|there: )((?:nft|iptables) .*)$/gm,
      );
      for (const [, line] of lines) {
        await pair.exec(pair.server, ["sh", "-c", line!]);
      }
      const checked = await pair.exec(
        pair.server,
        scriptCommand("../../main.ts", "check", "--host", `${dir}/server.yaml`),
      );
      assertEquals(checked.code, 0, checked.stderr);
    },
    ["iptables"],
  );
}
