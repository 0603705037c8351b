/**
 * The guard before any DNAT: ports that containers publish, what an older
 * version of iptables' rules left in the kernel, and every kind of address that is this machine's.
 */

import { assert, assertEquals } from "@std/assert";
import { IptablesDriver, NftDriver } from "./driver.ts";
import {
  BEHIND,
  CLIENTS,
  netnsTest,
  type Pair,
  pass,
  SERVER,
} from "./netns.ts";

const [A, B, , LIKE_A] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];

const BACKENDS = ["nft", "iptables-nft", "iptables-legacy"] as const;

/** A driver of a backend, guarding at one interface where it is named. */
function driverOf(pair: Pair, backend: string, only?: string) {
  if (backend === "nft") {
    return new NftDriver(pair, ...only ? [`--interfaces=${only}`] : []);
  }
  const variant = backend.slice("iptables-".length);
  const more = only ? ["guard", "", only] : [];
  return new IptablesDriver(pair, variant, ...more);
}

/** Publishes tcp/8080 of both families as Docker does, by iptables or by nft. */
async function publish(pair: Pair, by: string): Promise<void> {
  await pair.makeBehind(true);
  await pair.passOn(true);
  await pair.serveBehind("tcp", 80);
  if (by === "nft") {
    await pair.onServer(
      ["nft", "-f", "-"],
      `table inet containers {
        chain prerouting {
          type nat hook prerouting priority dstnat; policy accept;
          fib daddr type local tcp dport 8080 dnat ip to ${BEHIND[4]}:80
          fib daddr type local tcp dport 8080 dnat ip6 to [${BEHIND[6]}]:80
        }
      }\n`,
    );
    return;
  }
  for (
    const [program, target] of [
      [by, `${BEHIND[4]}:80`],
      [by.replace("ip", "ip6"), `[${BEHIND[6]}]:80`],
    ] as const
  ) {
    await pair.onServer(
      // deno-fmt-ignore
      [
        program, "-w", "-t", "nat", "-A", "PREROUTING", "-m", "addrtype",
        "--dst-type", "LOCAL", "-p", "tcp", "--dport", "8080",
        "-j", "DNAT", "--to-destination", target,
      ],
    );
  }
}

for (const backend of BACKENDS) {
  const by = backend === "nft" ? "iptables-nft" : backend;
  for (const publisher of new Set([by, "nft"])) {
    netnsTest(
      `${backend} guards a port that ${publisher} forwards to a container`,
      async (pair) => {
        await publish(pair, publisher);
        await pair.serve("tcp", 22);
        assert(await pair.canReach(A, 8080));
        assert(await pair.canReach(A6, 8080));
        const driver = driverOf(pair, backend);
        await driver.apply(["tcp/8080"]);
        assert(!await pair.canReach(A, 8080));
        assert(!await pair.canReach(A6, 8080));
        assert(await pair.canReach(A, 22));
        await driver.open([[A, "tcp/8080", 3], [A6, "tcp/8080", 60]]);
        assert(await pair.canReach(A, 8080, { keep: "session" }));
        assert(await pair.canReach(A6, 8080));
        for (const other of [B, LIKE_A, B6]) {
          assert(!await pair.canReach(other, 8080), other);
        }
        await pair.shuts(A, 8080);
        assert(await pair.stillTalks("session"));
        await driver.close([[A6, "tcp/8080", 60]]);
        assert(!await pair.canReach(A6, 8080));
        assertEquals(await driver.intact(), true);
        await driver.take({ do: "remove" });
        assert(await pair.canReach(A, 8080));
      },
      [by],
    );
  }

  netnsTest(
    `${backend} guards every address that is this machine's`,
    async (pair) => {
      await pair.onServer(
        ["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"],
      );
      const route = ["ip", "route", "add", "192.0.2.1", "via", SERVER[4]];
      assertEquals((await pair.exec(pair.client, route)).code, 0);
      const link = await pair.onServer(
        ["sh", "-c", "ip -6 -o addr show dev eth0 scope link"],
      );
      const local = /inet6 (fe80::[0-9a-f:]+)/.exec(link)![1]!;
      const counting = `table inet watch {
        chain input {
          type filter hook input priority 100; policy accept;
          udp dport 5000 counter
          tcp dport 22 tcp flags syn counter
        }
      }\n`;
      await pair.onServer(["nft", "-f", "-"], counting);
      const driver = driverOf(pair, backend);
      await driver.apply(["tcp/22", "udp/5000"]);
      const onClient = (line: string) =>
        pair.exec(pair.client, ["bash", "-c", line]);
      await onClient("ip route add default dev eth0");
      const knockAll = async () => {
        for (const [source, target] of targets) {
          assert(await pair.sendTo(target, source, 5000, 1), target);
        }
        for (const host of [`${local}%eth0`, "192.0.2.1"]) {
          await onClient(`timeout 0.3 bash -c ': >/dev/tcp/${host}/22'`);
        }
        await pass(100);
        const watched = await pair.onServer(
          ["nft", "list", "table", "inet", "watch"],
        );
        return [...watched.matchAll(/packets (\d+)/g)]
          .map(([, count]) => Number(count));
      };
      const targets = [
        ...[[A, "10.77.0.255"], [A, "255.255.255.255"], [A, "224.0.0.1"]],
        ...[["::", `${local}%eth0`], ["::", "ff02::1%eth0"], [A, "192.0.2.1"]],
      ] as const;
      assertEquals(await knockAll(), [0, 0]);
      // The same ways, without the guard: so they do come in.
      await driver.take({ do: "remove" });
      const [udp, tcp] = await knockAll();
      assertEquals(udp, targets.length);
      assert(tcp! >= 2);
    },
    backend === "nft" ? [] : [backend],
  );

  netnsTest(
    `${backend} guards at the given interface alone, also one that is not there yet`,
    async (pair) => {
      await pair.serve("tcp", 22);
      const driver = driverOf(pair, backend, "eth7");
      await driver.apply(["tcp/22"]);
      assert(await pair.canReach(A, 22));
      await pair.onServer(["ip", "link", "set", "eth0", "down"]);
      await pair.onServer(["ip", "link", "set", "eth0", "name", "eth7"]);
      await pair.onServer(["ip", "link", "set", "eth7", "up"]);
      await pair.onServer([
        ...["ip", "addr", "replace", `${SERVER[6]}/64`],
        ...["dev", "eth7", "nodad"],
      ]);
      assert(!await pair.canReach(A, 22));
      assert(!await pair.canReach(A6, 22));
      await driver.open([[A, "tcp/22", 60]]);
      assert(await pair.canReach(A, 22));
      assert(!await pair.canReach(B, 22));
      assertEquals(await driver.intact(), true);
    },
    backend === "nft" ? [] : [backend],
  );
}

/** The rules of iptables before this guard. */
const OLD_IPTABLES = `*filter
:KNOCK - [0:0]
-I INPUT 1 -j KNOCK
-A KNOCK -m conntrack --ctstate ESTABLISHED -j RETURN
-A KNOCK -i lo -j RETURN
-A KNOCK -s ${A}/32 -p udp -m udp --dport 5000 -m comment --comment "knock alice until=2000000000" -j RETURN
-A KNOCK -p tcp -m tcp --dport 22 -j DROP
-A KNOCK -p udp -m udp --dport 5000 -j DROP
-A KNOCK -m comment --comment "made by knock"
COMMIT
`;

async function putOld(pair: Pair, backend: string): Promise<void> {
  await pair.onServer([`${backend}-restore`, "--noflush", "-w"], OLD_IPTABLES);
  await pair.onServer(
    [`${backend.replace("ip", "ip6")}-restore`, "--noflush", "-w"],
    OLD_IPTABLES.replace(/.*until=.*\n/, ""),
  );
}

for (const backend of BACKENDS.slice(1)) {
  netnsTest(
    `${backend} takes over from an older version without a moment of openness`,
    async (pair) => {
      const SENT = 15_000;
      await pair.serve("tcp", 22);
      await pair.onServer(
        ["nft", "-f", "-"],
        `table inet watch {
          chain input {
            type filter hook input priority 100; policy accept;
            ip saddr ${A} udp dport 5000 counter drop
            ip saddr ${LIKE_A} udp dport 5000 counter drop
          }
        }\n`,
      );
      await putOld(pair, backend);
      const driver = driverOf(pair, backend);
      await driver.take({ do: "name" });
      let over = false;
      const sending = Promise.all(
        [A, LIKE_A].map((source) => pair.send(source, 5000, SENT)),
      ).finally(() => over = true);
      let taken = 0;
      for (; !over; taken++) {
        // The next round begins with both in place, as after a crash.
        if (taken > 0) await putOld(pair, backend);
        await driver.apply(["tcp/22", "udp/5000"], [[A, "udp/5000", 60]]);
      }
      assertEquals(await sending, [true, true]);
      const watched = await pair.onServer(
        ["nft", "list", "table", "inet", "watch"],
      );
      const counts = [...watched.matchAll(/packets (\d+)/g)]
        .map(([, count]) => Number(count));
      assert(taken > 1, `taken over ${taken} times`);
      assertEquals(counts, [SENT, 0]);
      assert(!await pair.canReach(A, 22));
      const all = await pair.onServer(["nft", "list", "ruleset"]) +
        await pair.onServer([`${backend}-save`]);
      assert(!/-A INPUT -j KNOCK/.test(all));
      assertEquals(await driver.intact(), true);
    },
    [backend],
  );
}
