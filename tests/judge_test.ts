import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { Client } from "../lib/config/config.ts";
import { parseHours } from "../lib/config/hours.ts";
import type { Request } from "../lib/dialects/dialect.ts";
import { NO_MACHINE } from "../lib/server/forwarding.ts";
import { isTimely, judge, type Verdict } from "../lib/server/judge.ts";
import { parsePrefix } from "../lib/values/address.ts";
import { parsePortRange } from "../lib/values/ports.ts";
import { makeClient, makeRequest } from "./fixtures.ts";

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
  ["before expiry", { expiresMs: NOW + 1 }, {}, granted({})],
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

test("judge() takes a public address for a router's where no interface has one", () => {
  const judged = (target: string) =>
    judge(makeRequest({ target }), makeClient(), SOURCE, NOW, {
      ...NO_MACHINE,
      ownAddresses: ["10.0.0.1", "2001:db8::1"],
    });
  assertEquals(judged("198.51.100.1").ok, true);
  assertEquals(judged("10.0.0.9").ok, false);
});

for (const address of ["0.0.0.0", "::"]) {
  test(`judge() opens for nobody called ${address}`, () => {
    const client = makeClient({ anyAddress: true });
    const verdict = judge(makeRequest({ address }), client, SOURCE, NOW);
    assertEquals(verdict, { ok: false, why: "address" });
  });
}

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
