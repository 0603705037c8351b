/**
 * Forwards that other programs make, as their own rules have them: libvirt's
 * hooks, LXD's proxies, an admin's script. The port that they publish is guarded.
 */

import { assert } from "@std/assert";
import { BEHIND, netnsTest, SERVER } from "../netns/netns.ts";
import { Program } from "../netns/program.ts";
import {
  closes,
  HERE,
  NEIGHBOUR,
  opensByKnock,
  staysOpen,
  Watch,
} from "./stage.ts";

const PORT = 8080;
const TARGET = `${BEHIND[4]}:80`;

const ROWS: [name: string, set: string, clear: string][] = [
  [
    "libvirt's hook for a forwarded port",
    `iptables -w -I FORWARD -o eth1 -d ${BEHIND[4]} -p tcp --dport 80 -j ACCEPT
iptables -w -t nat -I PREROUTING -d ${
      SERVER[4]
    } -p tcp --dport ${PORT} -j DNAT --to ${TARGET}`,
    `iptables -w -t nat -D PREROUTING -d ${
      SERVER[4]
    } -p tcp --dport ${PORT} -j DNAT --to ${TARGET}
iptables -w -D FORWARD -o eth1 -d ${BEHIND[4]} -p tcp --dport 80 -j ACCEPT`,
  ],
  [
    "LXD's proxy device with nat=true",
    `nft -f - <<END
table inet lxd {
  chain fwd.lxdbr0 {
    type filter hook forward priority filter; policy accept;
    ip version 4 oifname "eth1" accept
  }
  chain prert.web.proxy {
    type nat hook prerouting priority -100; policy accept;
    ip daddr ${SERVER[4]} tcp dport ${PORT} dnat ip to ${TARGET}
  }
}
END`,
    "nft delete table inet lxd",
  ],
  [
    "a script that redirects to a port of the host",
    `iptables -w -t nat -A PREROUTING -p tcp --dport ${PORT} -j REDIRECT --to-ports 8000`,
    `iptables -w -t nat -F PREROUTING`,
  ],
  [
    "a script that flushes everything first",
    `nft flush ruleset
iptables -w -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport ${PORT} -j DNAT --to ${TARGET}`,
    "true",
  ],
];

for (const [name, set, clear] of ROWS) {
  netnsTest(`a forward of others is guarded: ${name}`, async (pair) => {
    const program = new Program(pair);
    const sh = (script: string) => pair.onServer(["sh", "-ec", script]);
    const flushes = set.startsWith("nft flush");
    try {
      await pair.cableUp();
      await pair.makeBehind(true);
      await pair.passOn(true);
      await pair.serveBehind("tcp", 80);
      await pair.serve("tcp", 8000);
      program.configure(`services: { web: tcp/${PORT} }`, [{
        name: "alice",
        policy: ["open: [web]", "for: 10m", "any_address: true"],
      }]);
      await program.enrol("alice");
      await program.serve();
      // What flushes our rules opens the port until they are put back.
      const watch = flushes ? null : await Watch.start(pair, PORT);
      await sh(set);
      if (flushes) await pair.shuts(HERE, PORT);
      await opensByKnock(program, pair, PORT);
      for (let round = 0; round < 3; round++) {
        await sh(clear);
        await sh(set);
        if (flushes) await pair.shuts(NEIGHBOUR, PORT);
        await staysOpen(pair, PORT);
      }
      await closes(program, pair, PORT);
      await program.signal("SIGKILL");
      assert(!await pair.canReach(HERE, PORT), "closed without a server");
      await program.serve();
      assert(!await pair.canReach(HERE, PORT), "closed");
      await watch?.neverOpen();
    } finally {
      program.remove();
    }
  }, ["iptables"]);
}
