/** Knocking from the page, by a WebRTC and a resolver of the test's own. */

import { assertEquals } from "@std/assert";
import { test } from "node:test";
import type { Outcome } from "../../web/ice.ts";
import { addressesOf, knockAt } from "../../web/knocking.ts";
import { importKey } from "../../web/seal.ts";
import type { Profile } from "../../web/store.ts";

const bytes = (fill: number) => new Uint8Array(32).fill(fill);
const AT = ["192.0.2.7", "2001:db8::7"];

async function profileOf(over: Partial<Profile> = {}): Promise<Profile> {
  const { privateKey, publicKey } = await importKey(bytes(7));
  return {
    ...{ name: "phone", host: "home.example.org", port: 62201, at: AT },
    ...{ doh: null, then: null, auto: false, code: false, seconds: 30 },
    ...{ openedMs: 0, psk: bytes(2), key: privateKey, publicKey },
    server: (await importKey(bytes(9))).publicKey,
    ...over,
  };
}

/** A connection's end: the state that it comes to, and the checks that it has sent. */
type End = readonly [state: string, requestsSent: number | undefined];

/** Stands in for WebRTC: connections end so, one after the other, then as the last. */
async function withEnds<T>(
  ends: readonly End[],
  work: (sent: readonly string[]) => Promise<T>,
): Promise<T> {
  const answers: string[] = [];
  class Connection {
    iceConnectionState = "new";
    oniceconnectionstatechange = () => {};
    readonly #end = ends[Math.min(answers.length, ends.length - 1)]!;
    createDataChannel() {}
    async setLocalDescription() {}
    setRemoteDescription({ sdp }: { sdp: string }) {
      answers.push(sdp);
      this.iceConnectionState = this.#end[0];
      this.oniceconnectionstatechange();
      return Promise.resolve();
    }
    getStats() {
      const [, requestsSent] = this.#end;
      return Promise.resolve([
        { id: "c", type: "local-candidate", address: "203.0.113.9" },
        {
          ...{ id: "p", type: "candidate-pair", localCandidateId: "c" },
          ...{ state: "succeeded", requestsSent },
        },
      ]);
    }
    close() {}
  }
  const here = globalThis as { RTCPeerConnection?: unknown };
  here.RTCPeerConnection = Connection;
  try {
    return await work(answers);
  } finally {
    delete here.RTCPeerConnection;
  }
}

const SILENT: End = ["failed", 9];
const UNSENT: End = ["failed", 0];
const OPEN: End = ["connected", 1];

const rows: [
  name: string,
  ends: End[],
  code: number | null,
  state: Outcome["state"],
  connections: number,
][] = [
  ["opens at once", [OPEN], null, "open", 1],
  ["is refused once and for all", [["disconnected", 1]], null, "refused", 1],
  ["knocks three times at most", [SILENT], null, "silent", 3],
  ["knocks again after silence", [SILENT, OPEN], null, "open", 2],
  ["sends a code once", [SILENT, OPEN], 123456, "silent", 1],
  ["sends a code that was not sent", [UNSENT, OPEN], 123456, "open", 2],
  ["gives up where nothing can be sent", [UNSENT], 123456, "unsent", 3],
  ["a browser that does not count", [["failed", undefined]], 1, "silent", 1],
];
for (const [name, ends, code, state, connections] of rows) {
  test(`knockAt() ${name}`, () =>
    withEnds(ends, async (sent) => {
      const told: string[] = [];
      await knockAt(await profileOf(), [AT[0]!], code, (outcome, address) => {
        told.push(outcome.state, address);
      });
      assertEquals(told, [state, AT[0]!]);
      assertEquals(sent.length, connections);
      // Each is a knock of its own.
      const ufrags = sent.map((sdp) => /a=ice-ufrag:(\S+)/.exec(sdp)![1]);
      assertEquals(new Set(ufrags).size, connections);
    }));
}

test("knockAt() knocks once for each family, and with a code for one", () =>
  withEnds([OPEN], async () => {
    const profile = await profileOf();
    for (const code of [null, 1]) {
      const told: string[] = [];
      const all = [...AT, "192.0.2.8"];
      await knockAt(profile, all, code, (_, address) => told.push(address));
      assertEquals(told.sort(), code === null ? AT : [AT[0]!]);
    }
  }));

/** An answer with one address for each question. */
const DNS_ANSWER = Uint8Array.fromHex(
  "000081800001000100000000036e61730000010001" +
    "c00c00010001000000800004c0000263",
);

async function withResolver<T>(
  answer: () => Promise<Response>,
  work: (asked: readonly string[]) => Promise<T>,
): Promise<T> {
  const old = globalThis.fetch;
  const asked: string[] = [];
  globalThis.fetch = ((url: string) => {
    asked.push(new URL(url).origin);
    return answer();
  }) as typeof fetch;
  try {
    return await work(asked);
  } finally {
    globalThis.fetch = old;
  }
}

const resolvers: [string, () => Promise<Response>, readonly string[]][] = [
  [
    "an answer",
    () => Promise.resolve(new Response(DNS_ANSWER)),
    ["192.0.2.99", "192.0.2.99"],
  ],
  ["an error", () => Promise.resolve(new Response("", { status: 500 })), AT],
  ["junk", () => Promise.resolve(new Response("<html>")), AT],
  ["no network", () => Promise.reject(new TypeError("no network")), AT],
];
for (const [name, answer, wanted] of resolvers) {
  test(`addressesOf() with ${name} of the resolver`, () =>
    withResolver(answer, async (asked) => {
      const doh = "https://dns.example.org/dns-query";
      assertEquals(await addressesOf(await profileOf({ doh })), wanted);
      assertEquals(asked.length, 2);
    }));
}

test("addressesOf() asks nobody without a resolver, or for an address", () =>
  withResolver(() => Promise.reject(new Error("asked")), async (asked) => {
    assertEquals(await addressesOf(await profileOf()), AT);
    const doh = "https://dns.example.org/dns-query";
    const literal = { host: "192.0.2.1", at: [], doh };
    assertEquals(await addressesOf(await profileOf(literal)), ["192.0.2.1"]);
    assertEquals(await addressesOf(await profileOf({ at: [] })), []);
    assertEquals(asked, []);
  }));
