/// <reference lib="dom" />
/**
 * Sending a knock by WebRTC: a connection whose remote candidate is the server,
 * with the knock as its ufrag. The browser's connectivity check carries it.
 * @module
 */

import { isAddress } from "./profile.ts";
import type { Sealed } from "./seal.ts";

/** The outcome of one knock; open: for the address that the server saw, where the browser tells. */
export type Outcome =
  | { readonly state: "open"; readonly source: string | null }
  /** Unsent: the browser sent no packet. */
  | { readonly state: "refused" | "silent" | "unsent" };

/** Longest wait for an answer, milliseconds; then the caller knocks anew. */
export const ANSWER_MS = 1500;

/** Any: no DTLS follows. */
const FINGERPRINT = Array.from({ length: 32 }, () => "AB").join(":");

/** Writes the answer that makes the browser check this candidate. Pure. */
export function answerFor(
  { ufrag, pwd }: Sealed,
  address: string,
  port: number,
): string {
  return [
    "v=0",
    "o=- 1 1 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    "a=ice-lite",
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:${pwd}`,
    `a=fingerprint:sha-256 ${FINGERPRINT}`,
    "a=setup:passive",
    "a=sctp-port:5000",
    `a=candidate:1 1 UDP 2130706431 ${address} ${port} typ host`,
    "a=end-of-candidates",
    "",
  ].join("\r\n");
}

/**
 * Sends one knock to an address and waits for its answer, up to
 * {@linkcode ANSWER_MS}. Throws where the browser has no WebRTC.
 */
export async function sendKnock(
  sealed: Sealed,
  address: string,
  port: number,
): Promise<Outcome> {
  const connection = new RTCPeerConnection();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    connection.createDataChannel("knock");
    const ended = new Promise<"open" | "refused" | "silent">((resolve) => {
      connection.oniceconnectionstatechange = () => {
        const state = connection.iceConnectionState;
        if (state === "connected" || state === "completed") resolve("open");
        if (state === "disconnected") resolve("refused");
        if (state === "failed") resolve("silent");
      };
      timer = setTimeout(() => resolve("silent"), ANSWER_MS);
    });
    await connection.setLocalDescription();
    const sdp = answerFor(sealed, address, port);
    await connection.setRemoteDescription({ type: "answer", sdp });
    const state = await ended;
    const pairs = await checkedPairs(connection);
    if (state === "open") return { state, source: sourceOf(pairs) };
    return {
      state: state === "silent" && !pairs.some(hasSent) ? "unsent" : state,
    };
  } finally {
    clearTimeout(timer);
    connection.close();
  }
}

/** A pair of candidates, as the browser counts what it did with it. */
interface CheckedPair {
  readonly state: unknown;
  /** Checks sent; undefined: this browser does not count them. */
  readonly requestsSent: unknown;
  /** The local candidate's address; undefined: the browser keeps it back. */
  readonly address: unknown;
}

async function checkedPairs(
  connection: RTCPeerConnection,
): Promise<CheckedPair[]> {
  const rows = new Map<string, Record<string, unknown>>();
  (await connection.getStats()).forEach((row) => rows.set(row.id, row));
  return [...rows.values()]
    .filter((row) => row["type"] === "candidate-pair")
    .map((row) => ({
      state: row["state"],
      requestsSent: row["requestsSent"],
      address: rows.get(String(row["localCandidateId"]))?.["address"],
    }));
}

/** Reports if a check may have left: a browser that does not count may have sent one. */
function hasSent({ requestsSent }: CheckedPair): boolean {
  return requestsSent !== 0;
}

/** The address that the answer says it came from; null: the browser keeps it back. */
function sourceOf(pairs: readonly CheckedPair[]): string | null {
  const address = pairs.find((one) => one.state === "succeeded")?.address;
  return typeof address === "string" && isAddress(address) ? address : null;
}
