/** Rules that others delete are put back: by the kernel's events, or by looks. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Firewall } from "../../lib/firewall/firewall.ts";
import type { NativeLibrary } from "../../lib/runtime/runtime.ts";
import { concerns, keepRestored } from "../../lib/server/grants/restore.ts";
import { makeServer } from "../../lib/server/state/server.ts";
import { openStore } from "../../lib/server/state/store.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { makeConfig } from "../fakes/fixtures.ts";

/** A netlink message about a table, as the kernel sends it. */
function message(
  kind: number,
  table: string,
  { family = 1, subsystem = 10 } = {},
): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(`${table}\0`);
  const handle = Uint8Array.of(12, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1);
  const padded = name.length + 3 & ~3;
  const bytes = new Uint8Array(20 + handle.length + 4 + padded);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, subsystem << 8 | kind, true);
  bytes[16] = family;
  // An attribute of another kind first: the table's name is found by its number.
  bytes.set(handle, 20);
  view.setUint16(20 + handle.length, 4 + name.length, true);
  view.setUint16(22 + handle.length, 1, true);
  bytes.set(name, 24 + handle.length);
  return bytes;
}

const OURS = ["inet knock", "ip filter"];
const MESSAGES: [what: string, bytes: Uint8Array, want: boolean][] = [
  ["our table is deleted", message(2, "knock"), true],
  ["a chain of it", message(5, "knock"), true],
  ["a rule of it", message(8, "knock"), true],
  ["a set of it", message(11, "knock"), true],
  ["a rule is put before ours", message(6, "knock"), true],
  ["an element, as with each grant", message(12, "knock"), false],
  ["an element deleted", message(14, "knock"), false],
  ["another table", message(2, "knocks"), false],
  ["of another family", message(2, "knock", { family: 10 }), false],
  ["the host's", message(2, "filter", { family: 2 }), true],
  ["not nftables", message(2, "knock", { subsystem: 1 }), false],
  ["nothing", new Uint8Array(), false],
  ["cut off", message(2, "knock").subarray(0, 30), false],
  ["a length of zero", new Uint8Array(64), false],
  [
    "the second of two",
    Uint8Array.from([...message(12, "knock"), ...message(2, "knock")]),
    true,
  ],
];
for (const [what, bytes, want] of MESSAGES) {
  test(`concerns() of a message, ${what}: ${want}`, () => {
    assertEquals(concerns(bytes, OURS), want);
  });
}

/** A C library whose netlink socket has these messages. */
class FakeLibc implements Pick<NativeLibrary, "call" | "close"> {
  messages: Uint8Array[] = [];
  lost = false;
  closed = 0;
  call(symbol: string, ...values: unknown[]): unknown {
    switch (symbol) {
      case "socket":
        return 5;
      case "getsockopt":
        (values[3] as Uint8Array)[0] = this.lost ? 105 : 0;
        this.lost = false;
        return 0;
      case "recv": {
        const next = this.messages.shift();
        if (!next) return -1;
        (values[1] as Uint8Array).set(next);
        return next.length;
      }
      case "close":
        this.closed++;
        return 0;
      default:
        return 0;
    }
  }
  close(): void {}
}

/** A server whose firewall counts looks and repairs. */
async function start(tables: readonly string[] | null, libc: FakeLibc | null) {
  const runtime = new FakeRuntime({ steps: "by hand" });
  runtime.openLibrary = () => Promise.resolve(libc as never);
  const count = { looks: 0, repairs: 0 };
  let broken = false;
  const firewall = {
    name: "fake",
    endsGrants: true,
    ...tables && { tables },
    intact: () => {
      count.looks++;
      return Promise.resolve(!broken);
    },
    apply: () => {
      count.repairs++;
      broken = false;
      return Promise.resolve();
    },
  } as unknown as Firewall;
  const config = makeConfig([]);
  const server = await makeServer(
    { runtime, store: await openStore(runtime, config.state), log: () => {} },
    config,
    firewall,
  );
  const restoring = await keepRestored(server);
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 10) {
      runtime.clock.advance(10);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  };
  return { count, pass, restoring, destroy: () => broken = true };
}

test("keepRestored() puts back what the kernel tells of, and looks at nothing before", async () => {
  const libc = new FakeLibc();
  const { count, pass, restoring, destroy } = await start(["inet knock"], libc);
  await pass(3000);
  assertEquals(count, { looks: 0, repairs: 0 });
  libc.messages = [message(12, "knock"), message(2, "other")];
  await pass(100);
  assertEquals(count, { looks: 0, repairs: 0 });
  destroy();
  libc.messages = [message(2, "knock")];
  await pass(100);
  assertEquals(count, { looks: 1, repairs: 1 });
  // Some messages were lost: it may have been any.
  destroy();
  libc.lost = true;
  await pass(1200);
  assertEquals(count, { looks: 2, repairs: 2 });
  restoring.stop();
  assertEquals(libc.closed, 1);
  libc.messages = [message(2, "knock")];
  await pass(2000);
  assertEquals(count.looks, 2);
});

const LOOKS: [
  what: string,
  tables: readonly string[] | null,
  libc: FakeLibc | null,
  looks: number,
][] = [
  ["nftables without events", ["inet knock"], null, 3],
  ["iptables-legacy", [], new FakeLibc(), 3],
  ["nothing in the kernel", null, new FakeLibc(), 0],
];
for (const [what, tables, libc, looks] of LOOKS) {
  test(`keepRestored() looks ${looks} times in 3 s: ${what}`, async () => {
    const { count, pass, restoring, destroy } = await start(tables, libc);
    destroy();
    await pass(3050);
    assertEquals(count, { looks, repairs: looks === 0 ? 0 : 1 });
    restoring.stop();
  });
}
