import { test } from "node:test";
import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { decodeIp } from "../../lib/sequences/packet.ts";
import { type Captured, PcapReader } from "../../lib/sequences/pcap.ts";
import { FLAG } from "../../lib/sequences/sequence.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.fromHex(text.replaceAll(/\s/g, ""));
}

/** tcp 10.9.0.2:41000 > 10.9.0.1:7000, flags S, seq 0x01020304. */
const TCP4 = hex(`
  4500003c 12344000 40060000 0a090002 0a090001
  a0281b58 01020304 00000000 a002faf0 00000000 00000000`);
/** udp fd09::2:41001 > fd09::1:8000, one byte of zero. */
const UDP6 = hex(`
  60000000 00091140 fd090000000000000000000000000002
  fd090000000000000000000000000001 a0291f40 00090000 00`);
/** The same behind hop-by-hop and destination options and a first fragment. */
const UDP6_EXTENDED = hex(`
  60000000 00210040 fd090000000000000000000000000002
  fd090000000000000000000000000001
  3c00 010400000000 2c00 010400000000 1100 0001 00000001
  a0291f40 00090000 00`);

const WANT_TCP4 = {
  source: "10.9.0.2",
  target: "10.9.0.1",
  protocol: "tcp",
  sourcePort: 41000,
  port: 7000,
  flags: FLAG.syn,
  sequenceNumber: 0x01020304,
} as const;
const WANT_UDP6 = {
  source: "fd09::2",
  target: "fd09::1",
  protocol: "udp",
  sourcePort: 41001,
  port: 8000,
  flags: 0,
  sequenceNumber: 0,
  payload: Uint8Array.of(0),
} as const;

test("decodeIp() reads TCP and UDP in both families", () => {
  assertEquals(decodeIp(TCP4), WANT_TCP4);
  assertEquals(decodeIp(UDP6), WANT_UDP6);
  assertEquals(decodeIp(UDP6_EXTENDED), WANT_UDP6);
  // IPv4 with options.
  const options = new Uint8Array([...TCP4.with(0, 0x46)]);
  const wider = new Uint8Array(TCP4.length + 4);
  wider.set(options.subarray(0, 20));
  wider.set(options.subarray(20), 24);
  assertEquals(decodeIp(wider), WANT_TCP4);
});

test("decodeIp() refuses what has no ports", () => {
  const table: [string, Uint8Array][] = [
    ["nothing", new Uint8Array()],
    ["another version", TCP4.with(0, 0x55)],
    ["a short header", TCP4.with(0, 0x44)],
    ["a later fragment", TCP4.with(7, 1)],
    ["ICMP", TCP4.with(9, 1)],
    ["a later fragment of IPv6", UDP6_EXTENDED.with(59, 0x08)],
    ["no next header", UDP6.with(6, 59)],
  ];
  for (const [what, bytes] of table) assertEquals(decodeIp(bytes), null, what);
  for (let size = 0; size < 34; size++) {
    assertEquals(decodeIp(TCP4.subarray(0, size)), null, `${size} bytes`);
  }
  for (let size = 0; size < 44; size++) {
    assertEquals(decodeIp(UDP6.subarray(0, size)), null, `${size} bytes`);
  }
});

test("decodeIp() looks behind eight extension headers and no more", () => {
  for (const [count, ok] of [[8, true], [9, false]] as const) {
    const options = Array.from({ length: count }, (_, index) => {
      const next = index === count - 1 ? 17 : 60;
      return [next, 0, 1, 4, 0, 0, 0, 0];
    }).flat();
    const packet = new Uint8Array([
      ...UDP6.with(6, 60).subarray(0, 40),
      ...options,
      ...UDP6.subarray(40),
    ]);
    assertEquals(decodeIp(packet), ok ? WANT_UDP6 : null);
  }
});

test("decodeIp() never throws", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
    decodeIp(bytes);
    if (bytes.length > 0) decodeIp(bytes.with(0, 0x60));
  }));
});

interface Order {
  readonly little: boolean;
  readonly nanoseconds: boolean;
}

const ORDERS: readonly Order[] = [true, false].flatMap((little) =>
  [true, false].map((nanoseconds) => ({ little, nanoseconds }))
);

/** A capture of frames, the first at 1.5 s, one each second. */
function capture(
  link: number,
  frames: readonly Uint8Array[],
  { little, nanoseconds }: Order = { little: true, nanoseconds: false },
): Uint8Array {
  const head = new DataView(new ArrayBuffer(24));
  head.setUint32(0, nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, little);
  head.setUint32(16, 262144, little);
  head.setUint32(20, link, little);
  const bytes = [...new Uint8Array(head.buffer)];
  frames.forEach((frame, index) => {
    const record = new DataView(new ArrayBuffer(16));
    record.setUint32(0, 1 + index, little);
    record.setUint32(4, nanoseconds ? 500_000_000 : 500_000, little);
    record.setUint32(8, frame.length, little);
    record.setUint32(12, frame.length, little);
    bytes.push(...new Uint8Array(record.buffer), ...frame);
  });
  return new Uint8Array(bytes);
}

function join(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

const MACS = new Uint8Array(12);

/** An NFLOG frame: header, prefix, payload, each padded to four bytes. */
function nflog(prefix: string, payload: Uint8Array, little: boolean) {
  const attribute = (type: number, value: Uint8Array) => {
    const size = value.length + 4;
    const bytes = new Uint8Array(size + 3 & ~3);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, size, little);
    view.setUint16(2, type, little);
    bytes.set(value, 4);
    return bytes;
  };
  return join(
    hex("0200 0005"),
    attribute(1, hex("08000100")),
    attribute(10, new TextEncoder().encode(`${prefix}\0`)),
    attribute(9, payload),
  );
}

const LINKS: [what: string, link: number, head: Uint8Array][] = [
  ["Ethernet", 1, join(MACS, hex("0800"))],
  ["Ethernet with a VLAN", 1, join(MACS, hex("8100 0007 0800"))],
  ["Ethernet with two", 1, join(MACS, hex("88a8 0007 8100 0008 0800"))],
  ["raw IP", 101, new Uint8Array()],
  ["cooked, version 1", 113, new Uint8Array(16)],
  ["cooked, version 2", 276, new Uint8Array(20)],
  ["loopback", 0, new Uint8Array(4)],
];

for (const [what, link, head] of LINKS) {
  test(`feed() reads ${what}`, () => {
    for (const order of ORDERS) {
      const reader = new PcapReader();
      const got = reader.feed(capture(link, [join(head, TCP4)], order));
      const want = { atMs: 1500, packet: WANT_TCP4, prefix: null };
      assertEquals(got, [want]);
      assertEquals(reader.broken, null);
    }
  });
}

test("feed() reads NFLOG with its prefix", () => {
  for (const order of ORDERS) {
    const frame = nflog("knock open door", UDP6, order.little);
    const got = new PcapReader().feed(capture(239, [frame], order));
    const want = { atMs: 1500, packet: WANT_UDP6, prefix: "knock open door" };
    assertEquals(got, [want]);
  }
});

test("feed() passes over what is no IP", () => {
  const arp = join(MACS, hex("0806 0001"));
  const got = new PcapReader().feed(capture(1, [arp, new Uint8Array()]));
  assertEquals(got.map(({ packet }) => packet), [null, null]);
});

test("feed() reads a capture cut into any pieces", () => {
  const whole = capture(101, [TCP4, UDP6, UDP6_EXTENDED]);
  const want = new PcapReader().feed(whole);
  assertEquals(want.length, 3);
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (sizes) => {
        const reader = new PcapReader();
        const got: Captured[] = [];
        for (let at = 0, i = 0; at < whole.length; i++) {
          const size = sizes[i % sizes.length]!;
          got.push(...reader.feed(whole.subarray(at, at + size)));
          at += size;
        }
        assertEquals(got, want);
      },
    ),
    { numRuns: 50 },
  );
});

test("feed() says what is wrong with a capture", () => {
  const huge = capture(101, [TCP4]);
  new DataView(huge.buffer).setUint32(24 + 8, 0x40001, true);
  const table: [Uint8Array, string][] = [
    [new Uint8Array(24), "not a pcap capture"],
    [capture(147, []), "link type 147 cannot be read"],
    [huge, "a packet of 262145 bytes"],
  ];
  for (const [bytes, want] of table) {
    const reader = new PcapReader();
    assertEquals(reader.feed(bytes), []);
    assertEquals(reader.broken, want);
    assertEquals(reader.feed(capture(101, [TCP4])), []);
  }
});

test("feed() never throws", () => {
  const links = [1, 101, 113, 239, 276];
  fc.assert(
    fc.property(
      fc.constantFrom(...links),
      fc.uint8Array({ maxLength: 80 }),
      fc.uint8Array({ maxLength: 80 }),
      (link, frame, junk) => {
        const reader = new PcapReader();
        reader.feed(capture(link, [frame]));
        reader.feed(junk);
      },
    ),
  );
});

test("decodeIp() takes no IPv4 address in an IPv6 packet", () => {
  const mapped = UDP6.slice();
  mapped.set([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9], 8);
  assertEquals(decodeIp(mapped), null);
});

test("a capture shows loopback sources of loopback alone", () => {
  const local = TCP4.slice();
  local.set([127, 0, 0, 1], 12);
  const frame = (device: number) => {
    const header = new Uint8Array(20 + local.length);
    header.set([device >> 8, device & 0xff], 8);
    header.set(local, 20);
    return header;
  };
  const sources = [772, 1].map((device) => {
    const [captured] = new PcapReader().feed(capture(276, [frame(device)]));
    return captured!.packet?.source;
  });
  assertEquals(sources, ["127.0.0.1", undefined]);
});
