import { assertEquals } from "@std/assert";
import fc from "../fakes/fast_check.ts";
import process from "node:process";
import { test } from "node:test";
import type { Client } from "../../lib/config/config.ts";
import type { Request } from "../../lib/dialects/dialect.ts";
import {
  NO_MACHINE,
  takenAddresses,
} from "../../lib/server/packet/forwarding.ts";
import {
  isTimely,
  judge,
  type Verdict,
} from "../../lib/server/packet/judge.ts";
import {
  addressFromBytes,
  parsePrefix,
  prefixContains,
} from "../../lib/values/address.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { hoursEnd, parseHours, withinHours } from "../../lib/values/time.ts";
import { makeClient, makeRequest } from "../fakes/fixtures.ts";

const NOW = Date.UTC(2026, 0, 2, 12); // a Friday
const SOURCE = "203.0.113.9";

function ports(...texts: string[]) {
  return texts.map((text) => parsePortRange(text)!);
}

function granted(over: Partial<Extract<Verdict, { ok: true }>>): Verdict {
  return {
    ok: true,
    address: SOURCE,
    ports: ports("tcp/22", "tcp/8080-8090"),
    to: null,
    command: null,
    seconds: 30,
    codeStep: null,
    ...over,
  };
}

const friday = (text: string) => {
  // In local time, whatever the zone of the machine is.
  const local = new Date(NOW);
  const hour = String(local.getHours()).padStart(2, "0");
  return parseHours(text.replaceAll("HH", hour))!;
};

const verdicts: [
  name: string,
  client: Partial<Client>,
  request: Partial<Request>,
  want: Verdict | string,
][] = [
  ["nothing named: all that it may open", {}, {}, granted({})],
  [
    "a protocol without ports",
    {},
    { protocol: 1, ports: [] },
    "protocol",
  ],
  [
    "a service's address of this machine",
    {},
    { target: "192.0.2.1" },
    granted({}),
  ],
  ["a loopback address", {}, { target: "127.0.0.1" }, granted({})],
  ["a service's address of another machine", {}, {
    target: "10.0.0.9",
  }, "target"],
  ["another public address", {}, { target: "198.51.100.1" }, "target"],
  ["a service's address of another family", {}, {
    target: "2001:db8::1",
  }, "target"],
  [
    "a single port",
    {},
    { ports: ports("tcp/22") },
    granted({
      ports: ports("tcp/22"),
    }),
  ],
  [
    "a port within a range",
    {},
    { ports: ports("tcp/8085") },
    granted({
      ports: ports("tcp/8085"),
    }),
  ],
  [
    "a range within a range",
    {},
    { ports: ports("tcp/8080-8089") },
    granted({
      ports: ports("tcp/8080-8089"),
    }),
  ],
  ["a port above the range", {}, { ports: ports("tcp/8091") }, "ports"],
  ["the other protocol", {}, { ports: ports("udp/22") }, "ports"],
  ["one port of two", {}, { ports: ports("tcp/22", "tcp/23") }, "ports"],
  ["nothing to open", { open: [] }, {}, "nothing to open"],
  [
    "a port passed on to another host",
    {},
    {
      ports: ports("tcp/22"),
      forward: { kind: "nat", host: "10.0.0.5", port: 443 },
    },
    "forward",
  ],
  ["seconds asked for", {}, { seconds: 600 }, granted({ seconds: 600 })],
  [
    "more seconds than allowed",
    {},
    { seconds: 4_000_000_000 },
    granted({
      seconds: 3600,
    }),
  ],
  ["its own address named", {}, { address: SOURCE }, granted({})],
  ["another address named", {}, { address: "203.0.113.10" }, "address"],
  [
    "another address, where any is allowed",
    { anyAddress: true },
    { address: "2001:db8::1" },
    granted({ address: "2001:db8::1" }),
  ],
  [
    "no address, where it must name one",
    { requireAddress: true },
    {},
    "address required",
  ],
  [
    "its address, where it must name one",
    { requireAddress: true },
    { address: SOURCE },
    granted({}),
  ],
  [
    "a source outside `from`",
    { from: [parsePrefix("192.0.2.0/24")!] },
    {},
    "source",
  ],
  [
    "a source inside `from`",
    { from: [parsePrefix("192.0.2.0/24")!, parsePrefix("203.0.113.8/30")!] },
    {},
    granted({}),
  ],
  [
    "an address outside `from`, from a source inside",
    { anyAddress: true, from: [parsePrefix("203.0.113.0/24")!] },
    { address: "192.0.2.1" },
    "source",
  ],
  ["the moment of expiry", { expiresMs: NOW }, {}, "expired"],
  ["the last second before expiry", { expiresMs: NOW + 999 }, {}, "expired"],
  [
    "a ping right before expiry",
    { expiresMs: NOW + 1 },
    { action: "ping" },
    granted({ ports: [], seconds: 0 }),
  ],
  [
    "a close right before expiry",
    { expiresMs: NOW + 1 },
    { action: "close" },
    granted({ seconds: 0 }),
  ],
  [
    "more time than is left before expiry",
    { expiresMs: NOW + 20_999 },
    {},
    granted({ seconds: 20 }),
  ],
  ["less than that", { expiresMs: NOW + 31_000 }, {}, granted({})],
  [
    "more time than is left of the hours",
    { hours: friday("daily HH:00-HH:10") },
    { seconds: 3600 },
    granted({ seconds: 600 }),
  ],
  [
    "both: the earlier end counts",
    { hours: friday("daily HH:00-HH:10"), expiresMs: NOW + 60_000 },
    { seconds: 3600 },
    granted({ seconds: 60 }),
  ],
  ["within the hours", { hours: friday("daily HH:00-24:00") }, {}, granted({})],
  [
    "outside the hours",
    { hours: friday("daily 00:00-HH:00;daily HH:59-24:00") },
    {},
    "hours",
  ],
  ["a ping", {}, { action: "ping" }, granted({ ports: [], seconds: 0 })],
  ["a close", {}, { action: "close", seconds: 9 }, granted({ seconds: 0 })],
  ["a close of what it may not open", {}, {
    action: "close",
    ports: ports("tcp/1"),
  }, "ports"],
  ["a command", {}, { action: "run", command: "x" }, "command"],
];

for (const [name, client, request, want] of verdicts) {
  test(`judge() decides on ${name}`, () => {
    const machine = { ...NO_MACHINE, ownAddresses: ["192.0.2.1", "10.0.0.1"] };
    const got = judge(
      makeRequest(request),
      makeClient(client),
      SOURCE,
      NOW,
      machine,
    );
    assertEquals(got.ok ? got : got.why, want);
  });
}

const NETWORK = { ipv4: 24, ipv6: 64 };
const networks: [
  name: string,
  client: Partial<Client>,
  request: Partial<Request>,
  source: string,
  want: string,
][] = [
  ["IPv4", {}, {}, SOURCE, "203.0.113.0/24"],
  ["IPv6", {}, {}, "2001:db8::1:2:3:4", "2001:db8::/64"],
  ["a close", {}, { action: "close" }, SOURCE, "203.0.113.0/24"],
  ["a ping", {}, { action: "ping" }, SOURCE, SOURCE],
  [
    "one family alone",
    { network: { ipv4: null, ipv6: 64 } },
    {},
    SOURCE,
    SOURCE,
  ],
  ["all bits", { network: { ipv4: 32, ipv6: 128 } }, {}, SOURCE, SOURCE],
  [
    "an address of the source's network",
    {},
    { address: "203.0.113.77" },
    SOURCE,
    "203.0.113.0/24",
  ],
  [
    "an address of another network",
    {},
    { address: "203.0.114.9" },
    SOURCE,
    "address",
  ],
  [
    "a narrower from",
    { from: [parsePrefix("203.0.113.0/28")!, parsePrefix("2001:db8::/32")!] },
    {},
    SOURCE,
    "203.0.113.0/28",
  ],
  [
    "a from of one address",
    { from: [parsePrefix(SOURCE)!] },
    {},
    SOURCE,
    SOURCE,
  ],
  [
    "a wider from",
    { from: [parsePrefix("203.0.0.0/16")!] },
    {},
    SOURCE,
    "203.0.113.0/24",
  ],
  [
    "another from",
    { from: [parsePrefix("192.0.2.0/24")!] },
    {},
    SOURCE,
    "source",
  ],
];
for (const [name, client, request, source, want] of networks) {
  test(`judge() with a policy of networks: ${name} is ${want}`, () => {
    const policy = makeClient({ network: NETWORK, ...client });
    const got = judge(makeRequest(request), policy, source, NOW);
    assertEquals(got.ok ? got.address : got.why, want);
  });
}

test("judge() forwards to a port of its own for the address alone", () => {
  const request = makeRequest({
    ports: ports("tcp/40000"),
    forward: { kind: "local", host: "192.0.2.1", port: 22 },
  });
  const machine = { ...NO_MACHINE, ownAddresses: ["192.0.2.1"] };
  const policy = makeClient({ network: NETWORK });
  const got = judge(request, policy, SOURCE, NOW, machine);
  assertEquals(got.ok && [got.address, got.to?.port], [SOURCE, 22]);
});

test("judge() takes a public address for a router's where no interface has one", () => {
  const judged = (target: string) =>
    judge(makeRequest({ target }), makeClient(), SOURCE, NOW, {
      ...NO_MACHINE,
      ownAddresses: ["10.0.0.1", "2001:db8::1"],
    });
  assertEquals(judged("198.51.100.1").ok, true);
  assertEquals(judged("10.0.0.9").ok, false);
});

const TAKEN = [
  "192.0.2.10/24",
  "198.51.100.1/31",
  "198.51.100.4/31", // of two addresses: no broadcast
  "2001:db8::10/64",
];
const machine = { ...NO_MACHINE, taken: takenAddresses(TAKEN) };

/** Addresses that no client has. */
// deno-fmt-ignore
const NOBODYS = [
  "0.0.0.0", "0.1.2.3", "255.255.255.255", "224.0.0.1", "239.255.255.255",
  "::", "ff02::1", "ff0e::1", "fe80::1", "febf::1",
  "::102:304", "::ffff:0:102:304", // compatible, translated
  "2002:7f00:1::1", "2002:e000:1::1", "64:ff9b::7f00:1", "64:ff9b::ffff:ffff",
  "192.0.2.10", "192.0.2.255", "198.51.100.1", "2001:db8::10", // taken
];

for (const address of NOBODYS) {
  for (const action of ["open", "close", "ping"] as const) {
    test(`judge() does not ${action} for ${address}`, () => {
      const want: Verdict = { ok: false, why: "address" };
      const client = makeClient({ anyAddress: true });
      const named = makeRequest({ address, action });
      const bare = makeRequest({ action });
      const own = makeClient();
      assertEquals(judge(named, client, SOURCE, NOW, machine), want);
      assertEquals(judge(bare, client, address, NOW, machine), want);
      assertEquals(judge(named, own, address, NOW, machine), want);
    });
  }
}

for (
  const address of [
    "192.0.2.9",
    "192.0.2.0",
    "198.51.100.0",
    "198.51.100.5",
    "223.255.255.254",
    "240.0.0.1",
    "1.0.0.0",
    "2001:db8::11",
    "2002:c000:201::1",
    "64:ff9b::c000:201",
    "fec0::1",
  ]
) {
  test(`judge() opens for ${address}`, () => {
    const verdict = judge(makeRequest(), makeClient(), address, NOW, machine);
    assertEquals(verdict, granted({ address }));
  });
}

test("judge() opens for a loopback address only to packets from one", () => {
  const client = makeClient({ anyAddress: true });
  const cases = [
    ["127.0.0.1", "127.0.0.1", true],
    ["127.0.0.2", "127.0.0.1", true],
    ["::1", "::1", true],
    ["127.0.0.1", SOURCE, false],
    ["127.255.255.254", SOURCE, false],
    ["::1", "2001:db8::11", false],
  ] as const;
  for (const [address, source, want] of cases) {
    const got = judge(makeRequest({ address }), client, source, NOW, machine);
    assertEquals(got.ok, want, `${address} from ${source}`);
  }
});

test("judge() takes ::/0 for IPv6 alone, and 0.0.0.0/0 for IPv4 alone", () => {
  const cases = [
    ["::/0", SOURCE, false],
    ["::/0", "2001:db8::11", true],
    ["::/95", SOURCE, false],
    ["::ffff:0:0/96", SOURCE, true],
    ["0.0.0.0/0", SOURCE, true],
    ["0.0.0.0/0", "2001:db8::11", false],
  ] as const;
  for (const [prefix, source, want] of cases) {
    const client = makeClient({ from: [parsePrefix(prefix)!] });
    const got = judge(makeRequest(), client, source, NOW, machine);
    assertEquals(got.ok, want, `${source} in ${prefix}`);
  }
});

test("prefixContains() compares every bit of a prefix, and no bit behind it", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.integer({ min: 0, max: 128 }),
      fc.integer({ min: 0, max: 127 }),
      (bytes, bits, flipped) => {
        bytes[0] = 0x20; // IPv6
        const prefix = { bytes, bits };
        const other = bytes.slice();
        other[flipped >> 3]! ^= 0x80 >> (flipped & 7);
        if (addressFromBytes(other).includes(".")) return;
        const contains = prefixContains(prefix, addressFromBytes(other));
        assertEquals(contains, flipped >= bits);
      },
    ),
  );
});

test("isTimely() allows the clock difference, and no more", () => {
  const cases = [[-120_000, true], [120_000, true], [-120_001, false], [
    120_001,
    false,
  ]] as const;
  for (const [offset, want] of cases) {
    const request = makeRequest({ timestampMs: NOW + offset });
    assertEquals(isTimely(request, NOW, 120_000), want, `${offset}`);
  }
});

/** Zones whose clocks are put forward and back: by an hour, at midnight, by half an hour. */
const ZONES = ["UTC", "Europe/Berlin", "America/Havana", "Australia/Lord_Howe"];

/** Calls with the local time of a zone. */
function inZone<T>(zone: string, call: () => T): T {
  const before = process.env["TZ"];
  process.env["TZ"] = zone;
  try {
    return call();
  } finally {
    if (before === undefined) delete process.env["TZ"];
    else process.env["TZ"] = before;
  }
}

for (const zone of ZONES) {
  test(`hoursEnd() finds the first minute outside, as withinHours() says, in ${zone}`, () => {
    inZone(zone, checkHoursEnd);
  });
}

function checkHoursEnd(): void {
  const time = fc.integer({ min: 0, max: 23 * 60 + 59 }).map((minute) =>
    `${Math.floor(minute / 60)}`.padStart(2, "0") + ":" +
    `${minute % 60}`.padStart(2, "0")
  );
  const span = fc.tuple(
    fc.constantFrom("daily", "mon-fri", "sat,sun", "sun", "fri-mon"),
    time,
    fc.oneof(time, fc.constant("24:00")),
  ).filter(([, from, to]) => from !== to)
    .map(([days, from, to]) => `${days} ${from}-${to}`);
  const text = fc.array(span, { minLength: 1, maxLength: 3 })
    .map((spans) => spans.join(";"));
  const hour = 60 * 60 * 1000;
  // Days of 2026 on which clocks are set, and a year around them.
  const changes = [[2, 8], [2, 29], [3, 5], [9, 4], [9, 25], [10, 1]] as const;
  const moment = fc.oneof(
    fc.integer({ min: NOW, max: NOW + 366 * 24 * hour }),
    fc.tuple(fc.constantFrom(...changes), fc.integer({ min: -36, max: 36 }))
      .map(([[month, day], hours]) =>
        Date.UTC(2026, month, day) + hours * hour
      ),
  );
  fc.assert(
    fc.property(text, moment, (text, nowMs) => {
      const hours = parseHours(text)!;
      const limitMs = nowMs + 30 * hour;
      let wantMs = nowMs;
      while (wantMs < limitMs && withinHours(hours, new Date(wantMs))) {
        wantMs = Math.floor(wantMs / 60_000) * 60_000 + 60_000;
      }
      const gotMs = hoursEnd(hours, nowMs, limitMs);
      assertEquals(gotMs, Math.min(wantMs, limitMs), text);
    }),
    { numRuns: 60 },
  );
}

/** In Berlin, mostly on nights when the clock is set: what was asked at, and when it ends. */
const nights: [hours: string, now: string, end: string][] = [
  [
    "daily 22:00-06:00",
    "2026-03-28T23:00:00+01:00",
    "2026-03-29T06:00:00+02:00",
  ],
  [
    "daily 22:00-06:00",
    "2026-10-24T23:00:00+02:00",
    "2026-10-25T06:00:00+01:00",
  ],
  // Half past two is left out, and comes twice.
  [
    "daily 22:00-02:30",
    "2026-03-29T01:00:00+01:00",
    "2026-03-29T03:00:00+02:00",
  ],
  [
    "daily 22:00-02:30",
    "2026-10-25T01:00:00+02:00",
    "2026-10-25T02:30:00+02:00",
  ],
  [
    "daily 02:30-04:00",
    "2026-10-25T02:45:00+02:00",
    "2026-10-25T02:00:00+01:00",
  ],
  [
    "sat 22:00-02:00; sun 02:00-08:00",
    "2026-03-28T23:00:00+01:00",
    "2026-03-29T08:00:00+02:00",
  ],
  // The last minute, on a day like any other.
  [
    "daily 08:00-18:00",
    "2026-01-05T17:59:30+01:00",
    "2026-01-05T18:00:00+01:00",
  ],
];

for (const [text, now, end] of nights) {
  test(`hoursEnd() of "${text}" at ${now}`, () => {
    inZone("Europe/Berlin", () => {
      const nowMs = Date.parse(now);
      const endMs = hoursEnd(parseHours(text)!, nowMs, nowMs + 86_400_000);
      assertEquals(new Date(endMs).toISOString(), new Date(end).toISOString());
    });
  });
}
