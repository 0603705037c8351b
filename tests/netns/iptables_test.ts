/** The iptables backend alone, on the real kernel, by both variants of iptables. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Answer, GivenGrant } from "./drive.ts";
import { IptablesDriver } from "./driver.ts";
import { CLIENTS, netnsTest, type Pair, pass, scriptCommand } from "./netns.ts";

const [A, B, , LIKE_A] = CLIENTS[4];
const [A6, B6] = CLIENTS[6];

const PROGRAMS = [
  "iptables-nft-restore",
  "ip6tables-nft-restore",
  "iptables-legacy-restore",
  "ip6tables-legacy-restore",
];

/** Long enough for a grant of one second to be over: it ends with a whole one. */
const OVER_MS = 2100;
/** Long enough, on a machine that does much else, to look at what is open. */
const WHILE_S = 15;

/** Filter tables of iptables-save, without dates and counts. */
async function saved(pair: Pair, variant: string): Promise<string> {
  let text = "";
  for (const program of ["iptables", "ip6tables"]) {
    text += await pair.onServer([`${program}-${variant}-save`]);
  }
  return text.replace(/^#.*\n/gm, "").replace(/\[\d+:\d+\]/g, "[0:0]");
}

/** Has the kernel make the tables of iptables, as any look at them does. */
async function makeTables(pair: Pair, variant: string): Promise<void> {
  for (const program of [`iptables-${variant}`, `ip6tables-${variant}`]) {
    for (const table of ["filter", "mangle"]) {
      for (const verb of ["-N", "-X"]) {
        await pair.onServer([program, "-w", "-t", table, verb, "PROBE"]);
      }
    }
  }
}

function rules(pair: Pair, variant: string, ...what: string[]) {
  // deno-fmt-ignore
  return pair.onServer([
    `iptables-${variant}`, "-w", "-t", "mangle", "-S", ...what,
  ]);
}

for (const variant of ["nft", "legacy"]) {
  const kernelTest = (name: string, body: (pair: Pair) => Promise<void>) =>
    netnsTest(`iptables (${variant}) ${name}`, body, PROGRAMS);

  kernelTest("opens for one address, and the kernel ends it", async (pair) => {
    await pair.serve("tcp", 22, 2222);
    const driver = new IptablesDriver(pair, variant);
    const wanted = variant === "nft" ? /nf_tables/ : /legacy/;
    assertMatch(String(await driver.take({ do: "name" })), wanted);
    assert(await pair.canReach(A, 22));
    await driver.apply(["tcp/22"]);
    assert(!await pair.canReach(A, 22));
    assert(!await pair.canReach(A6, 22));
    assert(await pair.canReach(A, 2222));
    await driver.open([[A, "tcp/22", WHILE_S], [B6, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22, { keep: "session" }));
    for (const other of [B, LIKE_A, A6]) {
      assert(!await pair.canReach(other, 22), other);
    }
    assert(await pair.canReach(B6, 22));
    await driver.kill();
    await pair.shuts(A, 22);
    assert(await pair.stillTalks("session"));
    assert(await pair.canReach(B6, 22));
    await pair.onServer(["bash", "-c", "exec 3<>/dev/tcp/10.77.0.1/22"]);
  });

  kernelTest("ends a grant by itself, and not before its end", async (pair) => {
    await pair.serve("tcp", 22);
    const driver = new IptablesDriver(pair, variant);
    await driver.apply(["tcp/22"]);
    const startMs = performance.now();
    await driver.open([[A, "tcp/22", 2]]);
    while (await pair.canReach(A, 22)) await pass(20);
    const lastedMs = performance.now() - startMs;
    // How soon after it depends on what else this machine does.
    assert(lastedMs > 2000, `${lastedMs} ms`);
  });

  kernelTest("extends, never by shortening first, and closes", async (pair) => {
    await pair.serve("tcp", 22);
    const driver = new IptablesDriver(pair, variant);
    await driver.apply(["tcp/22"]);
    await driver.open([[A, "tcp/22", 1]]);
    await driver.open([[A, "tcp/22", 60]]);
    await driver.open([[B, "tcp/22", 60]]);
    await pass(OVER_MS);
    assert(await pair.canReach(A, 22));
    assertEquals(
      (await rules(pair, variant, "KNOCK")).match(/until=/g)?.length,
      2,
    );
    // Two clients behind one address: the other's grant stays.
    await driver.close([[A, "tcp/22", 60]], [[A, "tcp/22", 30]]);
    assert(await pair.canReach(A, 22));
    await driver.close([[A, "tcp/22", 60], ["192.0.2.9", "tcp/22", 60]]);
    assert(!await pair.canReach(A, 22));
    assert(await pair.canReach(B, 22));
    assertEquals(await driver.intact(), true);
  });

  kernelTest("guards ports that look alike apart, and ranges", async (pair) => {
    await pair.serve("tcp", 22, 53, 2222, 8000, 8010, 8011);
    await pair.serve("udp", 53);
    const driver = new IptablesDriver(pair, variant);
    await driver.apply([
      "tcp/22",
      "tcp/53",
      "tcp/2222",
      "udp/53",
      "tcp/8000-8100",
    ]);
    await driver.open([[A, "tcp/22", 60], [A, "udp/53", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(A, 2222));
    assert(!await pair.canReach(A, 53));
    assert(await pair.canReach(A, 53, { protocol: "udp" }));
    assert(!await pair.canReach(B, 53, { protocol: "udp" }));
    await driver.open([[B, "tcp/8000-8010", 60]]);
    assert(await pair.canReach(B, 8000));
    assert(await pair.canReach(B, 8010));
    assert(!await pair.canReach(B, 8011));
    assert(!await pair.canReach(A, 8000));
    assertEquals(await driver.intact(), true);
  });

  kernelTest("leaves foreign rules as they are", async (pair) => {
    for (const program of [`iptables-${variant}`, `ip6tables-${variant}`]) {
      await pair.onServer(
        [`${program}-restore`, "-w"],
        `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KNOCKD - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -j KNOCKD
-A INPUT -p tcp -m tcp --dport 80 -m comment --comment "knock alice until=1" -j DROP
-A KNOCKD -p tcp -m tcp --dport 22 -m comment --comment "made by knock or so" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth9 -j MASQUERADE
COMMIT
`,
      );
    }
    await makeTables(pair, variant);
    const before = await saved(pair, variant);
    await pair.serve("tcp", 22, 80);
    const driver = new IptablesDriver(pair, variant);
    await driver.apply(["tcp/22", "tcp/80"]);
    assert(!await pair.canReach(A, 22));
    await driver.open([[A, "tcp/22", 60], [A, "tcp/80", 60]]);
    assert(await pair.canReach(A, 22));
    // The host's own rules go on for what is granted.
    assert(!await pair.canReach(A, 80));
    const during = await saved(pair, variant);
    const others = during.split("\n")
      .filter((line) => !/\bKNOCK\b/.test(line)).join("\n");
    assertEquals(others, before);
    await driver.take({ do: "remove" });
    assertEquals(await saved(pair, variant), before);
    await driver.take({ do: "remove" });
    assertEquals(await driver.intact(), false);
  });

  kernelTest("sweeps its dead rules, and no others", async (pair) => {
    const driver = new IptablesDriver(pair, variant);
    await driver.apply(["tcp/22"]);
    const alike =
      `-s ${B}/32 -p tcp -m comment --comment "knock alice until=1" -j RETURN`;
    await pair.onServer(
      [`iptables-${variant}-restore`, "--noflush", "-w"],
      `*mangle\n-A OUTPUT ${alike}\nCOMMIT\n`,
    );
    await driver.open([[A, "tcp/22", 1], [A6, "tcp/22", 1], [
      B,
      "tcp/22",
      60,
    ]]);
    await pass(OVER_MS);
    assertEquals(await driver.intact(), true);
    const left = await rules(pair, variant);
    assertEquals(left.match(/until=/g)?.length, 2);
    assert(left.includes(`-A OUTPUT ${alike}`), left);
    assert(!(await saved(pair, variant)).includes(A6));
    assertEquals(await driver.intact(), true);
  });

  kernelTest("is back after what others did, and first", async (pair) => {
    await pair.serve("tcp", 22);
    const iptables = (...args: string[]) =>
      pair.onServer([`iptables-${variant}`, "-w", "-t", "mangle", ...args]);
    const driver = new IptablesDriver(pair, variant);
    await driver.apply(["tcp/22"], [[B, "tcp/22", 60]]);
    assertEquals(await driver.intact(), true);
    // Somebody comes before us.
    await iptables(..."-I PREROUTING -p tcp --dport 22 -j ACCEPT".split(" "));
    assertEquals(await driver.intact(), false);
    assert(await pair.canReach(A, 22));
    await driver.apply(["tcp/22"], [[B, "tcp/22", 60]]);
    assert(!await pair.canReach(A, 22));
    assert(await pair.canReach(B, 22));
    assertEquals(
      (await rules(pair, variant, "PREROUTING")).match(/-j KNOCK/g)?.length,
      2,
    );
    // Somebody puts a rule into our chain, and takes one out.
    await iptables(..."-I KNOCK -s 10.0.0.0/8 -j ACCEPT".split(" "));
    assertEquals(await driver.intact(), false);
    await driver.apply(["tcp/22"], [[B, "tcp/22", 60]]);
    await iptables("-D", "KNOCK", "3");
    assertEquals(await driver.intact(), false);
    assert(!await pair.canReach(B, 22));
    // Somebody flushes all, and we hear of it when the next one knocks.
    await iptables("-F");
    assert(await pair.canReach(LIKE_A, 22));
    await driver.close([[B, "tcp/22", 60]], [[B, "tcp/22", 60]]);
    await driver.open([[A, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22));
    assert(await pair.canReach(B, 22));
    assert(!await pair.canReach(LIKE_A, 22));
    assertEquals(await driver.intact(), true);
  });

  kernelTest("starts again with what is granted, and no more", async (pair) => {
    await pair.serve("tcp", 22, 80);
    const first = new IptablesDriver(pair, variant);
    await first.apply(["tcp/22"]);
    await first.open([[A, "tcp/22", 60], [B, "tcp/22", 60], [
      A6,
      "tcp/22",
      60,
    ]]);
    await first.kill();
    assert(!await pair.canReach(LIKE_A, 22));
    const again = new IptablesDriver(pair, variant);
    await again.apply(["tcp/22", "tcp/80"], [[A, "tcp/22", 60]]);
    assert(await pair.canReach(A, 22));
    assert(!await pair.canReach(A, 80));
    assert(!await pair.canReach(B, 22));
    assert(!await pair.canReach(A6, 22));
    await again.apply(["tcp/80"], []);
    assert(await pair.canReach(B, 22));
    assertEquals(await again.intact(), true);
  });

  kernelTest(
    "accepts before a host's own drop, in a chain by name",
    async (pair) => {
      await pair.serve("tcp", 22);
      for (const program of [`iptables-${variant}`, `ip6tables-${variant}`]) {
        await pair.onServer(
          [`${program}-restore`, "-w"],
          `*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
COMMIT
`.replace(/.*ipv6-icmp.*\n/, program.startsWith("ip6") ? "$&" : ""),
        );
      }
      await makeTables(pair, variant);
      const before = await saved(pair, variant);
      const driver = new IptablesDriver(pair, variant, "accept", "DOOR");
      await driver.apply(["tcp/22"]);
      assert(!await pair.canReach(A, 22));
      await driver.open([[A, "tcp/22", WHILE_S], [A6, "tcp/22", 60]]);
      assert(await pair.canReach(A, 22, { keep: "session" }));
      assert(await pair.canReach(A6, 22));
      assert(!await pair.canReach(B, 22));
      assert(!await pair.canReach(B6, 22));
      await pair.shuts(A, 22);
      assert(await pair.stillTalks("session"));
      assertEquals(await driver.intact(), true);
      // Another configuration takes over from this one.
      const other = new IptablesDriver(pair, variant);
      await other.apply(["tcp/22"]);
      assert(!(await saved(pair, variant)).includes("DOOR"));
      await other.take({ do: "remove" });
      assertEquals(await saved(pair, variant), before);
    },
  );

  kernelTest("touches no chain of another's by its name", async (pair) => {
    await pair.onServer(
      [`iptables-${variant}-restore`, "-w"],
      "*mangle\n:KNOCK - [0:0]\n-A KNOCK -s 192.0.2.1/32 -j DROP\nCOMMIT\n",
    );
    await makeTables(pair, variant);
    const before = await saved(pair, variant);
    const driver = new IptablesDriver(pair, variant);
    const answer = await driver.tryTo({ do: "apply", services: ["tcp/22"] });
    assertMatch(answer.error ?? "", /KNOCK .* was not made by this program/);
    assertMatch(answer.hint ?? "", /iptables -t mangle -F KNOCK/);
    await driver.take({ do: "remove" });
    assertEquals(await saved(pair, variant), before);
  });

  kernelTest("applies again without opening a port", async (pair) => {
    const SENT = 15_000;
    const nft = `table inet watch {
      chain input {
        type filter hook input priority 100; policy accept;
        ip saddr ${A} udp dport 5000 counter drop
        ip saddr ${LIKE_A} udp dport 5000 counter drop
      }
    }\n`;
    await pair.onServer(["nft", "-f", "-"], nft);
    const driver = new IptablesDriver(pair, variant);
    const grants: GivenGrant[] = [[A, "udp/5000", 60]];
    await driver.apply(["udp/5000"], grants);
    let applied = 0;
    let sent = 0;
    let over = false;
    const sending = (async () => {
      do {
        const all = await Promise.all(
          [A, LIKE_A].map((source) => pair.send(source, 5000, SENT)),
        );
        assertEquals(all, [true, true]);
        sent += SENT;
      } while (applied < 4);
    })().finally(() => over = true);
    for (; !over; applied++) {
      const more = applied % 2 ? [] : ["tcp/1"];
      await driver.apply(["udp/5000", ...more], grants);
    }
    await sending;
    const watched = await pair.onServer(
      ["nft", "list", "table", "inet", "watch"],
    );
    const counts = [...watched.matchAll(/packets (\d+)/g)]
      .map(([, count]) => Number(count));
    assertEquals(counts, [sent, 0]);
  });

  kernelTest("says what is missing where it has no rights", async (pair) => {
    const argv = [
      "setpriv",
      "--bounding-set=-net_admin",
      "--inh-caps=-net_admin",
      "--",
      ...scriptCommand("drive_iptables.ts", variant),
    ];
    const step = '{"id":1,"do":"name"}\n';
    const said = await pair.exec(pair.server, argv, step);
    assertMatch(
      (JSON.parse(said.stdout) as Answer).error!,
      /permission denied/,
    );
  });
}
