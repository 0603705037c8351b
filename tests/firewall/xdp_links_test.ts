/** XDP at the interfaces, and all that can fail there; tests/netns/xdp_test.ts has the real kernel. */

import { assert, assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Facing, Prefilter } from "../../lib/firewall/firewall.ts";
import { nftFirewall } from "../../lib/firewall/nft/nft.ts";
import { Xdp } from "../../lib/firewall/xdp/xdp.ts";
import type { Runtime } from "../../lib/runtime/runtime.ts";
import { FakeBpf, type FakeCall } from "../fakes/fake_bpf.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const TAG = Uint8Array.fromHex("00112233445566ff");
const NEXT = Uint8Array.fromHex("f0e1d2c3b4a59687");
const WEB = Uint8Array.fromHex("4142434445464748");
const GATE: Prefilter = { ports: [62201], tags: [TAG], webTags: [WEB] };
const FACING: Facing = {
  devices: ["eth0", "eth1"],
  addresses: ["192.0.2.1", "2001:db8::1"],
};

function make() {
  const kernel = new FakeBpf();
  kernel.interfaces.set("eth0", 2).set("eth1", 3);
  const runtime: Runtime = new FakeRuntime();
  runtime.openLibrary = () => Promise.resolve(kernel);
  return { kernel, xdp: new Xdp(runtime) };
}

/** Elements of the maps of tags and addresses. */
function elements({ maps }: FakeBpf): Record<string, number>[] {
  return [...maps.values()].slice(0, 2).map((map) => Object.fromEntries(map));
}

test("Xdp attaches one program to each interface, with tags and addresses", async () => {
  const { kernel, xdp } = make();
  assertEquals([xdp.interfaces, xdp.problem], [[], null]);
  await xdp.set(GATE, FACING);
  assertEquals(xdp.interfaces, ["eth0 (native)", "eth1 (native)"]);
  assertEquals(xdp.problem, null);
  assertEquals(elements(kernel), [
    { "00112233445566ff": 1, "4142434445464748": 2 },
    {
      "00000000000000000000ffffc0000201": 1,
      "20010db8000000000000000000000001": 1,
    },
  ]);
  assertEquals(xdp.counts(), { wrong_length: 7, wrong_tag: 7 });
  const [program] = kernel.programs.keys();
  for (const link of kernel.links.values()) assertEquals(link.program, program);
  xdp.close();
  const left = [kernel.links, kernel.maps, kernel.programs];
  assertEquals(left.map(({ size }) => size), [0, 0, 0]);
  assertEquals([xdp.interfaces, xdp.counts()], [[], {}]);
});

test("Xdp renews tags in place: what is new is there before what is old goes", async () => {
  const { kernel, xdp } = make();
  await xdp.set(GATE, FACING);
  const links = [...kernel.links.keys()];
  kernel.calls.length = 0;
  await xdp.set({ ...GATE, tags: [NEXT] }, FACING);
  const changes = kernel.calls.filter((name) => name !== "objectInfo");
  assertEquals(changes, ["mapUpdate", "mapDelete"]);
  assertEquals(Object.keys(elements(kernel)[0]!), [
    "4142434445464748",
    "f0e1d2c3b4a59687",
  ]);
  assertEquals([...kernel.links.keys()], links);
  // A browser's that becomes a knock's.
  await xdp.set({ ports: [62201], tags: [WEB] }, FACING);
  assertEquals(elements(kernel)[0], { "4142434445464748": 1 });
});

test("Xdp replaces the program under its links where the ports are others", async () => {
  const { kernel, xdp } = make();
  await xdp.set(GATE, FACING);
  const [old] = kernel.programs.keys();
  const links = [...kernel.links.keys()];
  await xdp.set({ ...GATE, ports: [62201, 53] }, FACING);
  assertEquals([...kernel.links.keys()], links);
  const [program, ...rest] = kernel.programs.keys();
  assertEquals([program === old, rest], [false, []]);
  for (const link of kernel.links.values()) assertEquals(link.program, program);
});

test("Xdp follows interfaces by name and index", async () => {
  const { kernel, xdp } = make();
  await xdp.set(GATE, FACING);
  assert(xdp.fits(FACING));
  assert(!xdp.fits({ ...FACING, addresses: ["192.0.2.1"] }));
  assert(!xdp.fits({ ...FACING, devices: ["eth0"] }));
  assert(!xdp.fits(null));
  // Another one under the same name.
  kernel.interfaces.set("eth1", 9);
  assert(!xdp.fits(FACING));
  await xdp.set(GATE, FACING);
  assert(xdp.fits(FACING));
  assertEquals([...kernel.links.values()].map(({ index }) => index), [2, 9]);
  // Detached by somebody.
  [...kernel.links.values()][0]!.index = 0;
  assert(!xdp.fits(FACING));
  await xdp.set(GATE, FACING);
  assertEquals([...kernel.links.values()].map(({ index }) => index), [9, 2]);
  await xdp.set(GATE, { ...FACING, devices: ["eth1"] });
  assertEquals(xdp.interfaces, ["eth1 (native)"]);
  assertEquals(kernel.links.size, 1);
  await xdp.set(GATE, null);
  assertEquals([xdp.interfaces, kernel.links.size], [[], 0]);
  assertEquals(xdp.problem, "xdp: no interface to be at");
});

const TAKEN = "another XDP program is attached: nft drops junk there";
const RIGHT = "operation not permitted: needs CAP_BPF and CAP_NET_ADMIN";

const FAILURES: readonly [
  name: string,
  failing: [FakeCall, number][],
  interfaces: string[],
  problem: string | null,
][] = [
  ["a driver without XDP", [["linkCreate native", 95]], [
    "eth0 (generic)",
    "eth1 (generic)",
  ], null],
  [
    "a generic one of another's",
    [["linkCreate native", 17], [
      "linkCreate",
      16,
    ]],
    [],
    `eth0: ${TAKEN}; eth1: ${TAKEN}`,
  ],
  [
    "no right to attach",
    [["linkCreate", 1]],
    [],
    [
      "eth0",
      "eth1",
    ].map((name) => `${name}: cannot attach the program: ${RIGHT}`).join("; "),
  ],
  [
    "no right to make maps",
    [["mapCreate", 1]],
    [],
    `xdp: cannot make a map: ${RIGHT}`,
  ],
  [
    "no memory for tags",
    [["mapUpdate", 12]],
    [],
    "xdp: cannot change a map: no memory",
  ],
  [
    "a verifier that refuses",
    [["programLoad", 13]],
    [],
    "xdp: cannot load the program: permission denied",
  ],
  [
    "a kernel without bpf",
    [["mapCreate", 38]],
    [],
    "xdp: cannot make a map: not in this kernel",
  ],
];

for (const [name, failing, interfaces, problem] of FAILURES) {
  test(`Xdp with ${name}: ${problem ?? interfaces.join(", ")}`, async () => {
    const { kernel, xdp } = make();
    for (const [call, errno] of failing) kernel.failing.set(call, errno);
    await xdp.set(GATE, FACING);
    assertEquals(xdp.interfaces, interfaces);
    assertEquals(xdp.problem, problem);
    assertEquals(kernel.links.size, interfaces.length);
    // The same again, until it can be done: then it is.
    assert(xdp.fits(FACING));
    kernel.failing.clear();
    await xdp.set(GATE, FACING);
    assertEquals([xdp.interfaces.length, xdp.problem], [2, null]);
  });
}

test("Xdp keeps no program whose tags could not be renewed", async () => {
  const { kernel, xdp } = make();
  await xdp.set(GATE, FACING);
  kernel.failing.set("mapUpdate", 12);
  await xdp.set({ ...GATE, tags: [NEXT] }, FACING);
  assertEquals([kernel.links.size, xdp.interfaces], [0, []]);
  assertEquals(xdp.problem, "xdp: cannot change a map: no memory");
  kernel.failing.clear();
  await xdp.set({ ...GATE, tags: [NEXT] }, FACING);
  assertEquals(xdp.interfaces.length, 2);
  assert("f0e1d2c3b4a59687" in elements(kernel)[0]!);
});

test("Xdp leaves an interface with another's program alone, and has the rest", async () => {
  const { kernel, xdp } = make();
  const other = { program: 99, index: 2, isNative: true };
  kernel.links.set(5, other);
  await xdp.set(GATE, FACING);
  assertEquals(xdp.interfaces, ["eth1 (native)"]);
  assertEquals(xdp.problem, `eth0: ${TAKEN}`);
  assertEquals(kernel.links.get(5), other);
  xdp.close();
  assertEquals([...kernel.links.keys()], [5]);
});

test("Xdp says where bpf(2) cannot be called", async () => {
  const xdp = new Xdp(new FakeRuntime());
  await xdp.set(GATE, FACING);
  assertEquals(xdp.problem, "xdp: cannot load libc.so.6");
  const mac = new Xdp(new FakeRuntime({ platform: "darwin" }));
  await mac.set(GATE, FACING);
  assertEquals(mac.problem, "xdp: needs Linux on x64 or arm64");
});

/** The nft backend with `prefilter: xdp` over a program nft with an empty table. */
async function makeBackend() {
  const kernel = new FakeBpf();
  kernel.interfaces.set("eth0", 2);
  const runtime = new FakeRuntime({
    files: { "/usr/sbin/nft": "", "/proc/net/dev": "  eth0: 0\n    lo: 0\n" },
  });
  const scripts: string[] = [];
  runtime.programs.set("/usr/sbin/nft", (_argv, options) => {
    const script = String(options.stdin);
    scripts.push(script);
    const table = 'table inet knock {\n\tcomment "made by knock"\n}\n';
    return { stdout: script.startsWith("list ruleset") ? table : "" };
  });
  (runtime as Runtime).openLibrary = (name) =>
    Promise.resolve(name === "libc.so.6" ? kernel : null);
  const choice = { mode: "guard", chain: null, prefilter: "xdp" } as const;
  const firewall = await nftFirewall(runtime, choice);
  await firewall.apply([], [], 0);
  return { kernel, firewall, extras: firewall.kernel!, scripts };
}

const AT_ETH0 = { kind: "xdp", interfaces: ["eth0 (native)"], problem: null };

test("nft with prefilter xdp keeps its own behind it, in prerouting alone", async () => {
  const { kernel, extras, scripts } = await makeBackend();
  assertEquals(extras.prefilter.kind, "off");
  assertEquals(kernel.links.size, 0);
  await extras.setPrefilter(GATE);
  assertEquals(extras.prefilter, AT_ETH0);
  assert(scripts.some((script) => script.includes("chain gate")));
  assert(!scripts.some((script) => script.includes("chain ingress")));
  // Where not every client speaks knock/1 any more.
  await extras.setPrefilter(null);
  assertEquals([extras.prefilter.kind, kernel.links.size], ["off", 0]);
});

for (const end of ["stop", "remove"] as const) {
  test(`${end}() of nft with prefilter xdp leaves no program`, async () => {
    const { kernel, firewall, extras } = await makeBackend();
    await extras.setPrefilter(GATE);
    assertEquals(kernel.links.size, 1);
    await firewall[end]();
    assertEquals([kernel.links.size, kernel.programs.size], [0, 0]);
  });
}

test("nft with prefilter xdp does without, says why, and looks for changes", async () => {
  const { kernel, firewall, extras, scripts } = await makeBackend();
  kernel.failing.set("linkCreate", 16);
  await extras.setPrefilter(GATE);
  assertEquals(extras.prefilter, {
    kind: "ingress",
    interfaces: ["eth0"],
    problem: `eth0: ${TAKEN}`,
  });
  assert(scripts.some((script) => script.includes("chain ingress")));
  kernel.failing.clear();
  await extras.setPrefilter(GATE);
  assertEquals(extras.prefilter, AT_ETH0);
  await firewall.apply([], [], 0);
  assertEquals(await firewall.intact(), true);
  kernel.interfaces.set("eth0", 7);
  assertEquals(await firewall.intact(), false);
  await firewall.apply([], [], 0);
  assertEquals([...kernel.links.values()].map(({ index }) => index), [7]);
});
