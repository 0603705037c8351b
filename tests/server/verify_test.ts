/** Forward auth: whom a reverse proxy is told to let in. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { readRequest, serveHttp } from "../../lib/server/report/http/http.ts";
import {
  clientOf,
  serveVerify,
  verify,
  type VerifyFacts,
} from "../../lib/server/report/http/verify.ts";
import { parsePrefix } from "../../lib/values/address.ts";
import { parsePortRange } from "../../lib/values/ports.ts";
import { runtime } from "../fakes/runtime.ts";

const TRUST = ["127.0.0.1", "10.0.0.0/8", "::1"].map((one) =>
  parsePrefix(one)!
);
const grant = (address: string, ports: string, once = false) => ({
  client: "phone",
  address,
  ports: parsePortRange(ports)!,
  sinceMs: 0,
  untilMs: 1,
  once,
  to: null,
});
const service = (name: string, ...ports: string[]) => ({
  name,
  ports: ports.map((one) => parsePortRange(one)!),
  to: null,
  masquerade: false,
  kill: false,
});
const GRANTS = [
  grant("203.0.113.9", "tcp/443"),
  grant("2001:db8::9", "tcp/22"),
  grant("203.0.113.7", "tcp/443", true),
];
const FACTS: VerifyFacts = {
  config: {
    services: [
      service("web", "tcp/80", "tcp/443"),
      service("ssh", "tcp/22"),
    ],
  },
  grants: (address) => GRANTS.filter((one) => one.address === address),
};

function ask(target: string, ...forwarded: string[]) {
  const headers = forwarded.map((one) => `X-Forwarded-For: ${one}\r\n`);
  const request = readRequest(
    `${target} HTTP/1.1\r\nHost: x\r\n${headers.join("")}\r\n`,
  )!;
  const { status, headers: said } = verify(request, TRUST, FACTS);
  return `${status.slice(0, 3)} ${said?.["Knock-Client"] ?? ""}`.trim();
}

const questions: [about: string, want: string, ...Parameters<typeof ask>][] = [
  ["a granted address", "204 phone", "GET /", "203.0.113.9"],
  ["an IPv6 one", "204 phone", "GET /", "2001:db8::9"],
  ["one written otherwise", "204 phone", "GET /", "2001:DB8:0::9"],
  ["its IPv6 form", "204 phone", "GET /", "::ffff:203.0.113.9"],
  ["one with a port", "204 phone", "GET /", "203.0.113.9:4711"],
  ["an IPv6 one with a port", "204 phone", "GET /", "[2001:db8::9]:4711"],
  ["another", "403", "GET /", "203.0.113.8"],
  ["none", "403", "GET /"],
  ["an empty one", "403", "GET /", ""],
  ["no address", "403", "GET /", "unknown"],
  ["our own hops alone", "403", "GET /", "10.0.0.1, 127.0.0.1"],
  ["a hop of ours behind it", "204 phone", "GET /", "203.0.113.9, 10.0.0.1"],
  ["two headers", "204 phone", "GET /", "203.0.113.9", "10.0.0.1"],
  // What the client wrote stands before its own address.
  ["a lie", "403", "GET /", "203.0.113.9, 203.0.113.8"],
  ["a lie in a header of its own", "403", "GET /", "203.0.113.9", "9.9.9.9"],
  ["junk behind it", "403", "GET /", "203.0.113.9, <b>"],
  ["its service", "204 phone", "GET /?service=web", "203.0.113.9"],
  ["another service", "403", "GET /?service=ssh", "203.0.113.9"],
  ["a service that is none", "403", "GET /?service=wiki", "203.0.113.9"],
  ["a grant for one connection", "403", "GET /", "203.0.113.7"],
  ["another path", "404", "GET /metrics", "203.0.113.9"],
  ["another query", "404", "GET /?x=1", "203.0.113.9"],
  ["two services", "404", "GET /?service=web&service=ssh", "203.0.113.9"],
  ["another method", "404", "POST /", "203.0.113.9"],
];

for (const [about, want, ...question] of questions) {
  test(`verify() of ${about}: ${want}`, () => {
    assertEquals(ask(...question), want);
  });
}

test("clientOf() never believes a hop before one that is not ours", () => {
  assertEquals(clientOf(["1.1.1.1, 2.2.2.2, 10.1.1.1"], TRUST), "2.2.2.2");
  assertEquals(clientOf(["1.1.1.1, x, 10.1.1.1"], TRUST), null);
});

for (
  const [about, text] of [
    ["no end", "GET / HTTP/1.1\r\nHost: x\r\n"],
    ["a line that is no header", "GET / HTTP/1.1\r\nHost\r\n\r\n"],
    ["a folded header", "GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n"],
    ["a blank before a colon", "GET / HTTP/1.1\r\nA : b\r\n\r\n"],
  ] as const
) {
  test(`readRequest() refuses a head with ${about}`, () => {
    assertEquals(readRequest(text), null);
  });
}

async function statusOf(
  listener: { at: { port: number } },
  headers: Record<string, string> = {},
) {
  const url = `http://127.0.0.1:${listener.at.port}/`;
  const response = await fetch(url, { headers });
  await response.body?.cancel();
  return [response.status, response.headers.get("knock-client")];
}

test("serveVerify() answers only proxies that it trusts", async () => {
  const listen = { host: "127.0.0.1", port: 0 };
  const granted = { "X-Forwarded-For": "203.0.113.9" };
  const near = await serveVerify(
    runtime,
    { listen, trust: TRUST },
    () => FACTS,
  );
  assertEquals(await statusOf(near, granted), [204, "phone"]);
  assertEquals(await statusOf(near), [403, null]);
  const cookie = "c".repeat(8000);
  assertEquals(await statusOf(near, { ...granted, cookie }), [204, "phone"]);
  await near.close();
  const far = { listen, trust: [parsePrefix("192.0.2.1")!] };
  const strange = await serveVerify(runtime, far, () => FACTS);
  assertEquals(
    await statusOf(strange, granted).catch(() => "closed"),
    "closed",
  );
  await strange.close();
});

test("serveHttp() reads no more of a head than its limit", async () => {
  const at = { host: "127.0.0.1", port: 0 };
  const limits = { key: "test", head: 1000, connections: 1 };
  const listener = await serveHttp(runtime, at, limits, () => {
    throw new Error("asked");
  });
  const head = { cookie: "c".repeat(5000) };
  const answer = await statusOf(listener, head).catch(() => "closed");
  assertEquals(answer === "closed" || answer[0] === 400, true);
  await listener.close();
});
