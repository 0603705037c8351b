/** Parsers of knocks from a browser: the check, the page's own, and a proxy's question. */

import { publicKeyOf } from "../../../lib/dialects/crypto/curve25519.ts";
import { explainKnock1 } from "../../../lib/dialects/knock1/explain.ts";
import { knock1Dialect } from "../../../lib/dialects/knock1/open.ts";
import { readRequest } from "../../../lib/server/report/http/http.ts";
import { verify } from "../../../lib/server/report/http/verify.ts";
import { parsePrefix } from "../../../lib/values/address.ts";
import { readDnsAnswer } from "../../../web/dns.ts";
import { readEnrolment } from "../../../web/profile.ts";
import { bytesOf } from "../../fakes/packets.ts";
import { sealWebKnock, writeCheck } from "../../fakes/web_knock.ts";
import { NOW_MS, open, scene } from "./samples.ts";
import type { Target } from "./target.ts";

const serverPrivate = bytesOf("server");
const alice = bytesOf("alice");
const clients = [
  { name: "alice", key: publicKeyOf(alice), psk: bytesOf("psk"), web: true },
];
const { ufrag, pwd } = sealWebKnock(
  {
    server: publicKeyOf(serverPrivate),
    key: alice,
    psk: bytesOf("psk"),
    ephemeral: bytesOf("ephemeral"),
  },
  {
    action: "open",
    ports: [{ protocol: "tcp", first: 22, last: 22 }],
    command: null,
    seconds: 60,
    address: null,
    code: null,
  },
  NOW_MS,
);
const check = writeCheck(`${ufrag}:abcd`, bytesOf("t").subarray(0, 12), pwd, [
  [0xc057, new Uint8Array(4)],
  [0x802a, new Uint8Array(8)],
  [0x0024, new Uint8Array(4)],
]);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (words: string) => new TextEncoder().encode(words);
const trust = [parsePrefix("127.0.0.1")!];

/** Whatever a browser, a link, a resolver and a proxy's client send. */
export const TARGETS: readonly Target[] = [
  {
    name: "knock from a browser",
    seeds: [check],
    run: open(knock1Dialect(serverPrivate, clients, 120_000)),
  },
  {
    name: "knock from a browser, explained",
    limitMs: 20_000,
    seeds: [check],
    run: (packet) =>
      explainKnock1(serverPrivate, clients, 120_000, packet, scene),
  },
  {
    name: "link in the page",
    seeds: [
      bytes(
        `https://d.example/#knock://[2001:db8::1]:1/?server=${"A".repeat(43)}` +
          `&psk=${
            "A".repeat(43)
          }&at=192.0.2.1,::1&then=https%3A%2F%2Fx&for=9#a`,
      ),
    ],
    run: (link) => readEnrolment(text(link)),
  },
  {
    name: "answer of DNS over HTTPS",
    seeds: [
      Uint8Array.fromHex(
        "000081800001000100000000036e617300001c0001" +
          "c00c001c000100000080001020010db8000000000000000000000009",
      ),
    ],
    run: (answer) => readDnsAnswer(new Uint8Array(answer)),
  },
  {
    name: "question of a proxy",
    seeds: [
      bytes(
        "GET /?service=web HTTP/1.1\r\nHost: x\r\n" +
          "X-Forwarded-For: 203.0.113.9, [::1]:5, 127.0.0.1\r\n\r\n",
      ),
    ],
    run: (head) => {
      const request = readRequest(text(head));
      if (!request) return;
      verify(request, trust, { config: { services: [] }, grants: () => [] });
    },
  },
];
