/** Another program flushes the rules while the server runs: what is ours comes back, grants too, and nothing else changes. */

import { assert, assertEquals } from "@std/assert";
import { CLIENTS, netnsTest, type Pair, pass } from "./netns.ts";
import { Program } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const [HERE6, NEIGHBOUR6] = CLIENTS[6];

/** The host's own rules, loaded in one step with the flush. */
const HOST = `flush ruleset
table inet host {
  chain input {
    type filter hook input priority filter; policy accept;
    tcp dport 9 drop
  }
}
`;

const FLUSHES: [what: string, firewall: string, flush: string][] = [
  ["the ruleset, as nftables.service", "backend: nft", "nft"],
  ["the table", "backend: nft", "nft delete table inet knock"],
  [
    "its chains",
    "backend: nft",
    "for c in $(nft list table inet knock | awk '/chain/ {print $2}'); do nft flush chain inet knock $c; done",
  ],
  [
    "iptables",
    "backend: iptables",
    "for t in filter mangle; do iptables -w -t $t -F; ip6tables -w -t $t -F; done",
  ],
];

for (const [what, firewall, flush] of FLUSHES) {
  netnsTest(`what is flushed is put back: ${what}`, async (pair) => {
    const program = new Program(pair);
    try {
      await pair.cableUp();
      await pair.serve("tcp", 22);
      program.configure(
        `firewall: { ${firewall} }\nservices: { ssh: tcp/22 }`,
        [{
          name: "alice",
          policy: ["open: [ssh]", "for: 10m", "any_address: true"],
        }],
      );
      await program.enrol("alice");
      await program.serve();
      for (const address of [HERE, HERE6]) {
        const said = await program.client(["alice", "--from", address]);
        assertEquals(said.code, 0, said.stderr);
      }
      for (let round = 0; round < 4; round++) {
        const from = program.log.length;
        await undo(pair, flush);
        await program.logged("putting the rules back", from);
        for (const address of [HERE, HERE6]) await pair.opens(address, 22);
        for (const address of [NEIGHBOUR, NEIGHBOUR6]) {
          await pair.shuts(address, 22);
        }
        await pass(50);
      }
      if (flush !== "nft") return;
      const rules = await pair.onServer([
        "nft",
        "list",
        "table",
        "inet",
        "host",
      ]);
      assert(rules.includes("tcp dport 9 drop"), rules);
    } finally {
      program.remove();
    }
  }, ["iptables", "ip6tables"]);
}

async function undo(pair: Pair, flush: string): Promise<void> {
  if (flush === "nft") await pair.onServer(["nft", "-f", "-"], HOST);
  else await pair.onServer(["sh", "-c", flush]);
}
