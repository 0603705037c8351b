/** Text and values: what each reader takes, what it refuses, and where its bounds are. */

import { assert, assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import { test } from "node:test";
import { httpPath, readHttpPacket } from "../../lib/dialects/http.ts";
import {
  addressFromBytes,
  formatPrefix,
  isCanonical,
  networkOf,
  networksAround,
  parseAddress,
  parseEndpoint,
  parsePrefix,
  prefixContains,
} from "../../lib/values/address.ts";
import { formatBase64url, parseBase64 } from "../../lib/values/bytes.ts";
import {
  containsPorts,
  formatPortRange,
  overlapPorts,
  parsePortRange,
  withoutPorts,
} from "../../lib/values/ports.ts";
import {
  MAX_SECONDS,
  parseDuration,
  parseHours,
  withinHours,
} from "../../lib/values/time.ts";

/** Defines a test for each row of a table: what a reader makes of a text. */
function table<T>(
  name: string,
  read: (text: string) => T,
  rows: readonly (readonly [text: string, want: T])[],
): void {
  for (const [text, want] of rows) {
    test(`${name} reads ${JSON.stringify(text).slice(0, 60)}`, () => {
      assertEquals(read(text), want);
    });
  }
}

table("parseAddress()", parseAddress, [
  ["192.0.2.1", "192.0.2.1"],
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["256.0.0.1", null],
  ["192.0.2.01", null],
  ["192.0.2", null],
  ["192.0.2.1.", null],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["::ffff:c000:201", "192.0.2.1"],
  ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ["::ffff:192.0.2.256", null],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
  ["1:2:3:4:5:6:7:8:9", null],
  ["1:2:3:4:5:6:7", null],
  ["1::2:3:4:5:6:7", "1:0:2:3:4:5:6:7"],
  ["1::2:3:4:5:6:7:8", null],
  ["1:2:3:4::5:6:7:8:9", null],
  ["1::2::3", null],
  ["2001:db8::12345", null],
  ["2001:db8::g", null],
  ["fe80::1%eth0", "fe80::1"],
  ["", null],
  ["example.org", null],
]);

const prefix = (text: string) => {
  const read = parsePrefix(text);
  return read && formatPrefix(read);
};
table("parsePrefix()", prefix, [
  ["192.0.2.0/24", "192.0.2.0/24"],
  ["192.0.2.1/32", "192.0.2.1"],
  ["192.0.2.1", "192.0.2.1"],
  ["192.0.2.0/33", null],
  ["0.0.0.0/0", "0.0.0.0/0"],
  ["2001:db8::/32", "2001:db8::/32"],
  ["2001:db8::/128", "2001:db8::"],
  ["2001:db8::/129", null],
  ["fe80::%eth0/64", null],
  ["fe80::1%eth0", null],
  ["192.0.2.0/24/24", null],
  ["192.0.2.0/", null],
  ["192.0.2.0/-1", null],
  ["/24", null],
]);

const held: readonly [network: string, address: string, held: boolean][] = [
  ["192.0.2.0/24", "192.0.2.0", true],
  ["192.0.2.0/24", "192.0.2.255", true],
  ["192.0.2.0/24", "192.0.3.0", false],
  ["192.0.2.0/24", "192.0.1.255", false],
  ["192.0.2.0/25", "192.0.2.127", true],
  ["192.0.2.0/25", "192.0.2.128", false],
  ["192.0.2.128/31", "192.0.2.129", true],
  ["192.0.2.128/31", "192.0.2.130", false],
  ["192.0.2.1/32", "192.0.2.1", true],
  ["192.0.2.1", "192.0.2.0", false],
  ["192.0.2.0/23", "192.0.3.255", true],
  ["0.0.0.0/0", "203.0.113.9", true],
  ["0.0.0.0/0", "2001:db8::1", false],
  ["0.0.0.0/1", "127.255.255.255", true],
  ["0.0.0.0/1", "128.0.0.0", false],
  ["2001:db8::/33", "2001:db8:7fff::1", true],
  ["2001:db8::/33", "2001:db8:8000::1", false],
  ["2001:db8::/127", "2001:db8::1", true],
  ["2001:db8::/127", "2001:db8::2", false],
  ["2001:db8::/32", "no address", false],
];
for (const [network, address, want] of held) {
  test(`${network} ${want ? "holds" : "does not hold"} ${address}`, () => {
    assertEquals(prefixContains(parsePrefix(network)!, address), want);
  });
}

test("a prefix holds exactly the addresses that begin with its bits", () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
  const bitsOf = (bytes: Uint8Array, count: number) =>
    [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("")
      .slice(0, count);
  fc.assert(
    fc.property(
      bytes,
      fc.nat(128),
      fc.option(fc.nat(127), { nil: null }),
      (network, bits, flip) => {
        const address = network.slice();
        if (flip !== null) address[flip >> 3]! ^= 0x80 >> (flip & 7);
        const text = addressFromBytes(address);
        assertEquals(
          prefixContains({ bytes: network, bits }, text),
          bitsOf(network, bits) === bitsOf(address, bits),
        );
      },
    ),
  );
});

table("parseEndpoint()", (text) => parseEndpoint(text), [
  ["192.0.2.1:0", { host: "192.0.2.1", port: 0 }],
  ["192.0.2.1:65535", { host: "192.0.2.1", port: 65535 }],
  ["192.0.2.1:65536", null],
  ["[2001:db8::1]:22", { host: "2001:db8::1", port: 22 }],
  ["[192.0.2.1]:22", null],
  ["192.0.2.256:22", null],
  ["1.2.3:22", null],
  ["example.org:22", { host: "example.org", port: 22 }],
  ["2001:db8::1:22", null],
  ["exa mple:22", null],
  [`${"a".repeat(254)}:22`, null],
]);

table("parsePortRange()", parsePortRange, [
  ["tcp/1", { protocol: "tcp", first: 1, last: 1 }],
  ["udp/65535", { protocol: "udp", first: 65535, last: 65535 }],
  ["tcp/0", null],
  ["tcp/65536", null],
  ["tcp/1-65536", null],
  ["tcp/0-1", null],
  ["tcp/22-21", null],
  ["tcp/22-22", { protocol: "tcp", first: 22, last: 22 }],
  ["sctp/22", null],
  ["tcp/22 ", null],
  ["tcp/-1", null],
  ["tcp/022222", null],
]);

const range = (text: string) => parsePortRange(text)!;
const pairs: readonly [
  outer: string,
  inner: string,
  contains: boolean,
  overlaps: boolean,
][] = [
  ["tcp/20-30", "tcp/20-30", true, true],
  ["tcp/20-30", "tcp/20", true, true],
  ["tcp/20-30", "tcp/30", true, true],
  ["tcp/20-30", "tcp/19", false, false],
  ["tcp/20-30", "tcp/31", false, false],
  ["tcp/20-30", "tcp/19-20", false, true],
  ["tcp/20-30", "tcp/30-31", false, true],
  ["tcp/20-30", "tcp/19-31", false, true],
  ["tcp/20-30", "udp/25", false, false],
  ["tcp/22", "tcp/22", true, true],
];
for (const [outer, inner, contains, overlaps] of pairs) {
  test(`${outer} and ${inner}: contains ${contains}, overlaps ${overlaps}`, () => {
    assertEquals(containsPorts(range(outer), range(inner)), contains);
    assertEquals(overlapPorts(range(outer), range(inner)), overlaps);
    assertEquals(overlapPorts(range(inner), range(outer)), overlaps);
  });
}

const rests: readonly [whole: string, taken: string[], left: string[]][] = [
  ["tcp/20-30", ["tcp/25"], ["tcp/20-24", "tcp/26-30"]],
  ["tcp/20-30", ["tcp/20"], ["tcp/21-30"]],
  ["tcp/20-30", ["tcp/30"], ["tcp/20-29"]],
  ["tcp/20-30", ["tcp/10-40"], []],
  ["tcp/20-30", ["udp/25", "tcp/31"], ["tcp/20-30"]],
  ["tcp/20-30", ["tcp/22", "tcp/24-28"], ["tcp/20-21", "tcp/23", "tcp/29-30"]],
];
for (const [whole, taken, left] of rests) {
  test(`${whole} without ${taken} is ${left}`, () => {
    const found = withoutPorts(range(whole), taken.map(range));
    assertEquals(found.map(formatPortRange), left);
  });
}

table("parseDuration()", parseDuration, [
  ["0", 0],
  ["90", 90],
  ["5m", 300],
  ["8h", 28_800],
  ["1d", 86_400],
  [`${MAX_SECONDS}`, MAX_SECONDS],
  [`${MAX_SECONDS + 1}`, null],
  ["49711d", null],
  ["1w", null],
  ["-1", null],
  ["1.5h", null],
  ["99999999999", null],
]);

const hex = (bytes: Uint8Array | null) => bytes && bytes.toHex();
// "AB" and "AA" would both be one zero byte if the four spare bits were ignored.
table("parseBase64()", (text) => hex(parseBase64(text)), [
  ["", ""],
  ["AA==", "00"],
  ["AB==", null],
  ["AAA=", "0000"],
  ["AAB=", null],
  ["AA", null],
  ["AA=", null],
  ["A A=", null],
  ["AA==AA==", null],
  ["-_==", null],
]);
const url = { alphabet: "base64url" } as const;
table("parseBase64() of base64url", (text) => hex(parseBase64(text, url)), [
  ["", ""],
  ["AA", "00"],
  ["AB", null],
  ["AAA", "0000"],
  ["AAB", null],
  ["-_8", "fbff"],
  ["AA==", null],
  ["A", null],
  ["+/8", null],
]);
table(
  "parseBase64() without padding",
  (text) => hex(parseBase64(text, { padding: "none" })),
  [["", ""], ["AA", "00"], ["AB", null], ["AA==", null], ["+/8", "fbff"], [
    "-_8",
    null,
  ]],
);
table(
  "parseBase64() with any padding",
  (text) => hex(parseBase64(text, { padding: "any" })),
  [
    ["AA", "00"],
    ["AA==", "00"],
    ["AB", "00"],
    ["AA=", null],
    ["AA===", null],
    ["A=A=", null],
    ["A A", null],
    ["A", null],
  ],
);
for (const size of [31, 33]) {
  test(`a key of 32 bytes is not read from ${size}`, () => {
    const bytes = new Uint8Array(size);
    assertEquals(parseBase64(bytes.toBase64(), { size: 32 }), null);
    assertEquals(
      parseBase64(formatBase64url(bytes), { ...url, size: 32 }),
      null,
    );
  });
}

// In January 2026 the 5th is a Monday. Local time, whatever the zone.
const hours: readonly [text: string, at: string, within: boolean][] = [
  ["mon-fri 08:00-18:00", "2026-01-05T08:00", true],
  ["mon-fri 08:00-18:00", "2026-01-05T07:59", false],
  ["mon-fri 08:00-18:00", "2026-01-05T17:59", true],
  ["mon-fri 08:00-18:00", "2026-01-05T18:00", false],
  ["mon-fri 08:00-18:00", "2026-01-04T12:00", false],
  ["fri 22:00-02:00", "2026-01-09T22:00", true],
  ["fri 22:00-02:00", "2026-01-09T21:59", false],
  ["fri 22:00-02:00", "2026-01-10T01:59", true],
  ["fri 22:00-02:00", "2026-01-10T02:00", false],
  ["fri 22:00-02:00", "2026-01-09T01:00", false],
  ["sat-mon 00:00-24:00", "2026-01-04T23:59", true],
  ["sat-mon 00:00-24:00", "2026-01-06T00:00", false],
  ["mon 08:00-09:00; tue 10:00-11:00", "2026-01-06T10:30", true],
  ["mon 08:00-09:00; tue 10:00-11:00", "2026-01-06T08:30", false],
];
for (const [text, at, want] of hours) {
  test(`"${text}" ${want ? "holds" : "does not hold"} ${at}`, () => {
    assertEquals(withinHours(parseHours(text)!, new Date(at)), want);
  });
}

table("parseHours()", (text) => parseHours(text) !== null, [
  ["08:00-18:00", true],
  ["00:00-24:00", true],
  ["08:00-24:01", false],
  ["08:00-25:00", false],
  ["08:60-18:00", false],
  ["08:00-08:00", false],
  ["8:00-18:00", false],
  ["someday 08:00-18:00", false],
  ["mon-fri-sun 08:00-18:00", false],
  ["", false],
]);

const requestOf = (line: string) =>
  readHttpPacket(new TextEncoder().encode(line))
    .map((bytes) => new TextDecoder("latin1").decode(bytes));
const longest = "A".repeat(1500);
table("readHttpPacket()", requestOf, [
  ["GET /AQID HTTP/1.1\r\n", ["\x01\x02\x03", "AQID"]],
  ["GET http://proxy/AQID HTTP/1.0\n", ["\x01\x02\x03", "AQID"]],
  ["GET /A-_B HTTP/1.1\r\n", ["\x03\xef\xc1", "A+/B"]],
  // Spare bits: not the path that these bytes have.
  ["GET /AB HTTP/1.1\r\n", ["AB"]],
  [`GET /${longest} HTTP/1.1\r\n`, ["\0".repeat(1125), longest]],
  [`GET /${longest}A HTTP/1.1\r\n`, []],
  ["GET / HTTP/1.1\r\n", []],
  ["POST /AQID HTTP/1.1\r\n", []],
  ["GET /AQID HTTP/2.0\r\n", []],
  ["GET /AQID HTTP/1.1", []],
  ["GET /AQ%44 HTTP/1.1\r\n", []],
  ["\r\nGET /AQID HTTP/1.1\r\n", []],
]);

test("a packet comes back from its path", () => {
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 1, maxLength: 1125 }),
    (packet) => {
      const line = `GET /${httpPath(packet, false)} HTTP/1.1\r\n`;
      const [bytes] = readHttpPacket(new TextEncoder().encode(line));
      assertEquals(bytes?.toHex(), packet.toHex());
    },
  ));
});

const inNetworks: [address: string, bits: number, want: string][] = [
  ["192.0.2.77", 24, "192.0.2.0/24"],
  ["192.0.2.77", 27, "192.0.2.64/27"],
  ["192.0.2.77", 16, "192.0.0.0/16"],
  ["192.0.2.77", 32, "192.0.2.77"],
  ["2001:db8:1:2:3::4", 64, "2001:db8:1:2::/64"],
  ["2001:db8:1:2ff:3::4", 60, "2001:db8:1:2f0::/60"],
  ["2001:db8::4", 128, "2001:db8::4"],
];
for (const [address, bits, want] of inNetworks) {
  test(`networkOf() of ${address} with ${bits} bits is ${want}`, () => {
    assertEquals(networkOf(address, bits), want);
    assert(isCanonical(want));
    assert(networksAround(address).includes(want));
    assert(prefixContains(parsePrefix(want)!, address));
  });
}

test("isCanonical() is false for any other text of the same", () => {
  for (
    const text of [
      "192.0.2.1/24",
      "192.0.2.1/32",
      "192.0.2.0/024",
      "192.0.2.0/",
      "192.0.2.0/24/24",
      "::ffff:192.0.2.0/120",
      "2001:DB8::/64",
      "2001:db8::1/64",
      "192.0.2.0/24 ",
      "",
    ]
  ) assert(!isCanonical(text), text);
});
