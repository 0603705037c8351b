/** A server and its client for tests of the client's side: keys, a profile, and a world that answers. */

import { formatEnrolment } from "../../lib/client/profile/enrolment.ts";
import type { Profile } from "../../lib/client/profile/profile.ts";
import { publicKeyOf } from "../../lib/dialects/crypto/curve25519.ts";
import type { Answer, Request } from "../../lib/dialects/dialect.ts";
import { knock1Dialect } from "../../lib/dialects/knock1/open.ts";
import type { Reply, Sent, World } from "./fake_network.ts";
import { START_MS } from "./fake_runtime.ts";

export const SERVER_PRIVATE = new Uint8Array(32).fill(1);
export const CLIENT_PRIVATE = new Uint8Array(32).fill(2);
export const PSK = new Uint8Array(32).fill(3);

/** Enrolment that `client add` printed for the client. */
export const ENROLMENT = {
  name: "home",
  host: "home.example.org",
  port: 62201,
  server: publicKeyOf(SERVER_PRIVATE),
  key: CLIENT_PRIVATE,
  psk: PSK,
};
export const LINE = formatEnrolment(ENROLMENT);

export const PROFILE: Profile = {
  name: "home",
  server: { host: "home.example.org", port: 62201 },
  knock: { server: ENROLMENT.server, key: CLIENT_PRIVATE, psk: PSK },
  openme: null,
  openspa: null,
  fwknop: null,
  transport: { kind: "udp", port: null },
  code: null,
  open: [],
  seconds: 0,
  from: "source",
  remember: true,
  resolve: null,
};

/** Answers the fake server's requests: with what, and after how long; null is silence. */
export type Manner = (
  request: Request,
  sent: Sent,
  count: number,
) => (Partial<Answer> & Omit<Reply, "bytes">) | null;

/** A server on the fake network that opens packets for real. */
export class FakeServer {
  /** The requests that were authentic, in order. */
  readonly requests: Request[] = [];
  readonly manner: Manner;
  /** Lead of its clock over the client's. */
  readonly aheadMs: number;

  constructor(manner: Manner = () => ({}), aheadMs = 0) {
    this.manner = manner;
    this.aheadMs = aheadMs;
  }

  readonly world: World = (sent, count) => {
    const key = publicKeyOf(CLIENT_PRIVATE);
    const clients = [{ name: "alice", key, psk: PSK }];
    const dialect = knock1Dialect(SERVER_PRIVATE, clients, 120_000);
    const nowMs = sent.atMs + this.aheadMs;
    const opened = dialect.open(sent.bytes, {
      nowMs,
      seen: () => false,
      mayCost: () => true,
    });
    if (!opened.ok) return [];
    this.requests.push(opened.request);
    const said = this.manner(opened.request, sent, count);
    if (!said || !opened.request.wantsReply) return [];
    const answer: Answer = {
      status: said.status ?? "done",
      ...said.reason && { reason: said.reason },
      count: said.count ?? Math.max(opened.request.ports.length, 2),
      seconds: said.seconds ?? (opened.request.seconds || 30),
      timeMs: said.timeMs ?? nowMs + (said.afterMs ?? 0),
      address: said.address ?? "203.0.113.9",
    };
    const random = new Uint8Array(32).fill(count);
    return [{ ...said, bytes: opened.seal(answer, random) }];
  };
}

export { START_MS };
