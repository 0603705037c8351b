/** The prefilter by XDP: on a real cable, in both modes, and in the server. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { NftDriver } from "./driver.ts";
import {
  BEHIND,
  CLIENTS,
  netnsTest,
  type Pair,
  scriptCommand,
  SERVER,
  Talker,
  until,
} from "./netns.ts";
import { type Program, programTest } from "./program.ts";
import {
  FRAMES,
  NEXT as SECOND,
  PORTS,
  TAG as FIRST,
  WEB_TAG as WEB,
} from "../fakes/xdp_frames.ts";

const [A] = CLIENTS[4];
const [A6] = CLIENTS[6];

const KNOCK = 62201;
const OTHER = 62202;
const TAG = "00112233445566ff";
const NEXT = "f0e1d2c3b4a59687";
const WEB_TAG = "4142434445464748";

/** A datagram of so many bytes, beginning with these. */
function bytes(start: string, size = 216): string {
  return start.padEnd(size * 2, "a5").slice(0, size * 2);
}

/** A browser's check with this tag. */
function check(tag: string): string {
  const head = `000101482112a442${"5a".repeat(12)}00060104`;
  return bytes(head + tag, 300);
}

function passes(
  pair: Pair,
  hex: string,
  source: string = A,
  port = KNOCK,
): Promise<boolean> {
  return pair.canReach(source, port, { protocol: "udp", hex });
}

interface Gate {
  readonly ports?: number[];
  readonly tags?: string[];
  readonly webTags?: string[];
}

function setGate(nft: NftDriver, gate: Gate | null) {
  return nft.take({ do: "gate", gate: gate && { ports: [KNOCK], ...gate } });
}

async function stateOf(nft: NftDriver) {
  return await nft.take({ do: "prefilter" }) as {
    kind: string;
    interfaces: string[];
    problem: string | null;
  };
}

/** True if a program of XDP is attached to an interface of the server. */
async function hasXdp(pair: Pair, name = "eth0"): Promise<boolean> {
  const shown = await pair.onServer(["ip", "-d", "link", "show", name]);
  return shown.includes("prog/xdp");
}

/** Counts what comes past the interfaces, before any other rule. */
const LATER = `table inet later {
  chain early {
    type filter hook ingress device eth0 priority -510; policy accept;
    udp dport { ${KNOCK}, ${OTHER} } counter
  }
}
`;

async function countLater(pair: Pair): Promise<number> {
  const argv = ["nft", "list", "table", "inet", "later"];
  const listing = await pair.onServer(argv);
  return Number(/packets (\d+)/.exec(listing)![1]);
}

/** Sends a datagram, and tells whether it came past XDP. */
async function comesBy(
  pair: Pair,
  hex: string,
  source: string = A,
  port = KNOCK,
): Promise<boolean> {
  const before = await countLater(pair);
  await pair.send(source, port, 1, hex);
  // What is sent afterwards comes afterwards, to a port that is not counted.
  await pair.opens(source, 5353, { protocol: "udp", hex: "00" });
  return await countLater(pair) > before;
}

/** An MTU beyond a page: drivers then refuse programs for one buffer. */
const JUMBO = "9000";

async function setMtu(pair: Pair, mtu: string): Promise<void> {
  for (const netns of [pair.client, pair.server]) {
    await pair.exec(netns, ["ip", "link", "set", "eth0", "mtu", mtu]);
  }
}

for (const mode of ["native", "generic"] as const) {
  netnsTest(`XDP drops what cannot be a knock (${mode})`, async (pair) => {
    if (mode === "generic") await setMtu(pair, JUMBO);
    await pair.serve("udp", KNOCK, OTHER, 5353);
    await pair.serve("tcp", KNOCK);
    await pair.onServer(["nft", "-f", "-"], LATER);
    const nft = new NftDriver(pair, "--prefilter=xdp");
    await nft.apply(["tcp/22"]);
    await setGate(nft, { tags: [TAG], webTags: [WEB_TAG] });
    assertEquals(await stateOf(nft), {
      kind: "xdp",
      interfaces: [`eth0 (${mode})`],
      problem: null,
    });
    assert(await hasXdp(pair));
    assertEquals(await nft.intact(), true);
    const cases: [name: string, hex: string, want: boolean][] = [
      ["a knock", bytes(TAG), true],
      ["another tag", bytes(NEXT), false],
      ["a byte too few", bytes(TAG, 215), false],
      ["a byte too many", bytes(TAG, 217), false],
      ["the tag alone", TAG, false],
      ["a browser's check", check(WEB_TAG), true],
      ["a check with another tag", check(TAG), false],
    ];
    for (const source of [A, A6]) {
      for (const [name, hex, want] of cases) {
        assertEquals(await comesBy(pair, hex, source), want, name);
        assertEquals(await passes(pair, hex, source), want, name);
      }
    }
    const long = bytes(TAG, mode === "native" ? 4000 : 12_000);
    assert(!await passes(pair, long), "in fragments");
    assert(!await passes(pair, long, A6), "in fragments");
    assertEquals(await nft.take({ do: "counters" }), {
      "kernel: wrong length": 2 * 2 * 4 + 2,
      "kernel: wrong tag": 2 * 2,
    });
    // Other ports and protocols are none of its business.
    assert(await passes(pair, bytes(""), A, 5353));
    assert(await passes(pair, "00", A6, OTHER));
    assert(await pair.canReach(A, KNOCK));

    // Tags, and ports by another program, without a gap.
    await setGate(nft, { tags: [NEXT] });
    assert(!await passes(pair, bytes(TAG)));
    assert(await passes(pair, bytes(NEXT)));
    await setGate(nft, { tags: [TAG], ports: [OTHER] });
    assert(await passes(pair, bytes(NEXT)));
    assert(!await passes(pair, bytes(NEXT), A, OTHER));
    assert(!await comesBy(pair, bytes(NEXT), A6, OTHER));
    assertEquals(await nft.intact(), true);

    // It goes with its prefilter, with the backend, and with its process.
    await setGate(nft, null);
    assert(!await hasXdp(pair));
    assert(await passes(pair, bytes(NEXT), A, OTHER));
    await setGate(nft, { tags: [TAG] });
    assert(await hasXdp(pair));
    await nft.take({ do: "stop" });
    assert(!await hasXdp(pair));
    const killed = new NftDriver(pair, "--prefilter=xdp");
    await killed.apply([]);
    await setGate(killed, { tags: [TAG] });
    assert(await hasXdp(pair));
    await killed.kill();
    await until("it is gone", async () => !await hasXdp(pair));
  });
}

/** Counts what comes past XDP, of any kind. */
const SEEN = `table netdev seen {
  chain seen {
    type filter hook ingress device eth0 priority -500; policy accept;
    ether saddr 02:00:00:00:00:02 counter drop
  }
}
`;

for (const mode of ["native", "generic"] as const) {
  netnsTest(
    `XDP judges every kind of frame on a cable (${mode})`,
    async (pair) => {
      if (mode === "generic") await setMtu(pair, JUMBO);
      await pair.onServer(["nft", "-f", "-"], SEEN);
      const nft = new NftDriver(pair, "--prefilter=xdp");
      await nft.apply([]);
      await setGate(nft, {
        ports: PORTS,
        tags: [FIRST, SECOND].map((tag) => tag.toHex()),
        webTags: [WEB].map((tag) => tag.toHex()),
      });
      assertEquals((await stateOf(nft)).interfaces, [`eth0 (${mode})`]);
      await pair.script(pair.server, "drive_frames.ts").ask({ receive: true });
      const talker = pair.script(pair.client, "drive_frames.ts");
      const count = async () => {
        const listing = await pair.onServer([
          "nft",
          "list",
          "table",
          "netdev",
          "seen",
        ]);
        const counters = await nft.take({ do: "counters" }) as Record<
          string,
          number
        >;
        return {
          pass: Number(/packets (\d+)/.exec(listing)![1]),
          wrong_length: counters["kernel: wrong length"]!,
          wrong_tag: counters["kernel: wrong tag"]!,
        };
      };
      const want = await count();
      for (const [name, frame, verdict] of FRAMES) {
        await talker.ask({ send: [frame.toHex()] });
        want[verdict]++;
        const sum = want.pass + want.wrong_length + want.wrong_tag;
        let got = want;
        await until(`${name} has come`, async () => {
          got = await count();
          return got.pass + got.wrong_length + got.wrong_tag >= sum;
        });
        assertEquals(got, want, name);
      }
    },
  );
}

netnsTest(
  "XDP leaves alone what is for others, and follows interfaces",
  async (pair) => {
    await pair.makeBehind(true);
    await pair.passOn(true);
    const { client } = pair;
    for (const [to, via] of [[BEHIND[4], SERVER[4]], [BEHIND[6], SERVER[6]]]) {
      await pair.exec(client, ["ip", "route", "add", to!, "via", via!]);
    }
    await pair.serve("udp", KNOCK);
    await pair.serveBehind("udp", KNOCK);
    await pair.onServer(["nft", "-f", "-"], LATER);
    const nft = new NftDriver(pair, "--prefilter=xdp");
    await nft.apply(["tcp/22"]);
    await setGate(nft, { tags: [TAG] });
    const { interfaces } = await stateOf(nft);
    assertEquals(interfaces, ["eth0 (native)", "eth1 (native)"]);
    const junk = { protocol: "udp", hex: bytes(NEXT) } as const;
    assert(await pair.canReachAt(BEHIND[4], A, KNOCK, junk));
    assert(await pair.canReachAt(BEHIND[6], A6, KNOCK, junk));

    // An address that is new is known at the next look; nft holds till then.
    const own = "10.77.0.99";
    await pair.onServer(["ip", "address", "add", `${own}/24`, "dev", "eth0"]);
    assertEquals(await nft.intact(), false);
    const before = await countLater(pair);
    assert(!await pair.canReachAt(own, A, KNOCK, junk));
    assert(await countLater(pair) > before);
    await nft.apply(["tcp/22"]);
    assertEquals(await nft.intact(), true);
    const known = await countLater(pair);
    assert(!await pair.canReachAt(own, A, KNOCK, junk));
    assertEquals(await countLater(pair), known);

    // An interface that goes, and comes back under its name.
    await pair.onServer(["ip", "link", "delete", "eth1"]);
    assertEquals(await nft.intact(), false);
    await nft.apply(["tcp/22"]);
    assertEquals((await stateOf(nft)).interfaces, ["eth0 (native)"]);
    assertEquals(await nft.intact(), true);
    const cable = ["type", "veth", "peer", "name", "veth1"];
    await pair.onServer(["ip", "link", "add", "eth1", ...cable]);
    assertEquals(await nft.intact(), false);
    await nft.apply(["tcp/22"]);
    assertEquals((await stateOf(nft)).interfaces, interfaces);
    assert(await hasXdp(pair, "eth1"));
    assert(!await hasXdp(pair, "veth1"));
    await pair.onServer(["ip", "link", "delete", "eth1"]);
    await pair.onServer(["ip", "link", "add", "eth1", ...cable]);
    assert(!await hasXdp(pair, "eth1"));
    assertEquals(await nft.intact(), false);
    await nft.apply(["tcp/22"]);
    assert(await hasXdp(pair, "eth1"));
  },
);

netnsTest(
  "XDP of another program stays, and nft drops the junk",
  async (pair) => {
    await pair.serve("udp", KNOCK);
    const other = new NftDriver(pair, "--prefilter=xdp");
    await other.apply([]);
    await setGate(other, { tags: [TAG, NEXT] });
    const nft = new NftDriver(pair, "--prefilter=xdp");
    await nft.apply(["tcp/22"]);
    await setGate(nft, { tags: [TAG] });
    assertEquals(await stateOf(nft), {
      kind: "ingress",
      interfaces: ["eth0"],
      problem: "eth0: another XDP program is attached: nft drops junk there",
    });
    assertEquals(await nft.intact(), true);
    assert(!await passes(pair, bytes(NEXT)));
    assert(await passes(pair, bytes(TAG)));
    assertEquals((await stateOf(other)).kind, "xdp");
    // It takes over with the next tags.
    await other.kill();
    await until("it is gone", async () => !await hasXdp(pair));
    await setGate(nft, { tags: [TAG] });
    assertEquals((await stateOf(nft)).interfaces, ["eth0 (native)"]);
    assertEquals((await stateOf(nft)).problem, null);
  },
);

/** A backend by XDP with no rights but these. */
function restricted(pair: Pair, rights: string): Talker {
  return new Talker(pair.spawn(pair.server, [
    "setpriv",
    `--bounding-set=-all,${rights}`,
    ...scriptCommand("drive_nft.ts", "--prefilter=xdp"),
  ]));
}

netnsTest(
  "XDP takes CAP_BPF and CAP_NET_ADMIN, and does without them",
  async (pair) => {
    await pair.serve("udp", KNOCK);
    for (
      const [rights, want] of [
        ["+net_admin,+bpf", null],
        [
          "+net_admin",
          /^xdp: .* not permitted: needs CAP_BPF and CAP_NET_ADMIN$/,
        ],
      ] as const
    ) {
      const talker = restricted(pair, rights);
      const take = async (step: object) => {
        const answer = await talker.ask<{ ok: boolean; value: unknown }>(step);
        assert(answer.ok, JSON.stringify(answer));
        return answer.value;
      };
      await take({ do: "apply", services: [] });
      const gate = { ports: [KNOCK], tags: [TAG] };
      await take({ do: "gate", gate });
      const state = await take({ do: "prefilter" }) as {
        kind: string;
        problem: string | null;
      };
      assertEquals(state.kind, want ? "ingress" : "xdp");
      if (want) assertMatch(state.problem!, want);
      else assertEquals(state.problem, null);
      assert(!await passes(pair, bytes(NEXT)));
      assert(await passes(pair, bytes(TAG)));
      await take({ do: "stop" });
    }
  },
  ["setpriv"],
);

programTest(
  "the server drops junk by XDP, tells so, and opens",
  async (program, pair) => {
    const configure = (choice = "xdp", more = "") =>
      program.configure(
        `firewall: { backend: nft, prefilter: ${choice}${more} }\n` +
          'metrics: "127.0.0.1:9162"\nservices: { ssh: tcp/22 }',
        [{ name: "alice", policy: ["open: [ssh]", "for: 10m"] }],
      );
    configure();
    await pair.serve("tcp", 22);
    await program.serve();
    await program.enrol("alice");
    await pair.send(A, KNOCK, 3, bytes(NEXT));
    await pair.send(A6, KNOCK, 2, bytes(NEXT, 100));
    assertEquals((await program.client(["alice"])).stderr, "");
    assert(await pair.canReach(A, 22));
    const { stdout } = await program.admin("status", "--json");
    const status = JSON.parse(stdout);
    assertEquals(status.prefilter, {
      kind: "xdp",
      interfaces: ["eth0 (native)"],
      problem: null,
    });
    assertEquals(status.counters.kernel_wrong_tag, 3);
    assertEquals(status.counters.kernel_wrong_length, 2);
    const shown = await program.admin("status");
    assertMatch(shown.stdout, /prefilter xdp at eth0 \(native\)/);
    assertEquals(await findings(program), [[
      "ok",
      "prefilter xdp at eth0 (native)",
    ]]);
    const metrics = await pair.onServer(
      ["curl", "-s", "http://127.0.0.1:9162/metrics"],
    );
    assertMatch(metrics, /knock_events_total\{event="kernel_wrong_tag"\} 3\n/);
    assertMatch(metrics, /info\{kind="xdp",interfaces="eth0 \(native\)"\} 1\n/);
    assertMatch(metrics, /knock_prefilter_problem 0\n/);

    // Another backend of the same kind takes over its interfaces.
    const from = program.log.length;
    configure("xdp", ", interfaces: [eth0]");
    await program.signal("SIGHUP");
    await program.logged("reloaded", from);
    await until("it is attached again", () => hasXdp(pair));
    assertEquals(await findings(program), [[
      "ok",
      "prefilter xdp at eth0 (native)",
    ]]);
    assert(
      !program.log.slice(from).includes("another XDP program"),
      program.log,
    );
    assertEquals((await program.client(["alice"])).stderr, "");

    configure("auto");
    await program.signal("SIGHUP");
    await until("it is gone", async () => !await hasXdp(pair));
    await until(
      "nft alone",
      async () =>
        (await findings(program))[0]?.[1] === "prefilter ingress at eth0",
    );
    configure();
    await program.signal("SIGHUP");
    await until("it is back", () => hasXdp(pair));
    await program.signal("SIGKILL");
    await until("it is gone", async () => !await hasXdp(pair));
  },
  ["curl"],
);

/** Levels of the doctor's findings about the prefilter, with their last words. */
async function findings(program: Program): Promise<[string, string][]> {
  const { stdout } = await program.admin("doctor", "--json");
  const { findings } = JSON.parse(stdout) as {
    findings: { id: string; level: string; text: string }[];
  };
  return findings.filter(({ id }) => id === "prefilter").map((
    { level, text },
  ) => [level, text.replace(/^.*: /, "")]);
}
