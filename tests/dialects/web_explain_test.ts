/** `knock decode` of knocks from a browser: what is said, and where it ends. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { test } from "node:test";
import {
  explainKnock1,
  knockExplain,
} from "../../lib/dialects/knock1/explain.ts";
import type { Explanation } from "../../lib/dialects/keys.ts";
import type { NamedProfile } from "../../lib/dialects/keys.ts";
import { sceneAt } from "../fakes/packets.ts";
import web from "../vectors/knock1-web.json" with { type: "json" };

const hex = (text: string) => Uint8Array.fromHex(text);
const vector = web.vectors[0]!;
const packet = hex(vector.datagram);
const alice = {
  name: "alice",
  key: hex(vector.client_public),
  psk: hex(vector.psk),
  web: true,
};
const MAX_SKEW_MS = 120_000;

function explain(
  over: { bytes?: Uint8Array; client?: Partial<typeof alice>; ms?: number },
): Explanation {
  return explainKnock1(
    hex(vector.server_private),
    [{ ...alice, ...over.client }],
    MAX_SKEW_MS,
    over.bytes ?? packet,
    sceneAt(over.ms ?? vector.now_ms),
  );
}

const last = ({ steps }: Explanation) => steps.at(-1)!;

test("a knock from a browser is explained to its end", () => {
  const found = explain({});
  assertEquals([found.verdict, found.client], ["request", "alice"]);
  assertEquals(found.request!.action, vector.request.action);
  assert(found.steps.every(({ ok }) => ok));
  assertMatch(found.steps[0]!.text, /knock from a browser/);
});

const flipped = (at: number) => packet.with(at, packet[at]! ^ 1);
const wrong: [
  about: string,
  given: Parameters<typeof explain>[0],
  verdict: string,
  text: RegExp,
][] = [
  [
    "a client that may not",
    { client: { web: false } },
    "unknown client",
    /"alice" may not knock from a browser/,
  ],
  [
    "another psk",
    { client: { psk: hex(vector.server_public) } },
    "noise",
    /psk/,
  ],
  [
    "nobody's key",
    { client: { key: hex(vector.server_public) } },
    "unknown client",
    /of no client here/,
  ],
  [
    "a later hour",
    { ms: vector.now_ms + 3_600_000 },
    "tag",
    /form of a request/,
  ],
  [
    "another program's check",
    { bytes: flipped(30) },
    "form",
    /check of ICE without a knock/,
  ],
];

for (const [about, given, verdict, text] of wrong) {
  test(`a knock from a browser with ${about}: ${verdict}`, () => {
    const found = explain(given);
    assertEquals(found.verdict, verdict);
    assertMatch(last(found).text, text);
  });
}

test("a check that was changed around its knock: integrity", () => {
  // Without FINGERPRINT, whose CRC would tell first.
  const bytes = packet.slice(0, -8);
  new DataView(bytes.buffer).setUint16(2, bytes.length - 20);
  bytes[10]! ^= 1;
  const found = explain({ bytes });
  assertEquals([found.verdict, found.client], ["integrity", "alice"]);
  assertMatch(last(found).text, /around it does not hold/);
});

test("a client tells whose server a knock from a browser is for", () => {
  const profile = {
    name: "home",
    knock: {
      server: hex(vector.server_public),
      key: alice.key,
      psk: alice.psk,
    },
    fwknop: null,
    openme: null,
    openspa: null,
  } as NamedProfile;
  const found = knockExplain.recognise([profile], packet, vector.now_ms)!;
  assertEquals([found.verdict, found.profile], ["sealed", "home"]);
  assertEquals(knockExplain.recognise([], packet, 0)!.verdict, "tag");
  assert(knockExplain.hasForm(packet));
});
