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
  | { readonly state: "refused" | "silent" };

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
 * Sends one knock to an address and waits for its answer; silent after
 * {@linkcode ANSWER_MS}. Throws where the browser has no WebRTC.
 */
export async function sendKnock(
  sealed: Sealed,
  address: string,
  port: number,
): Promise<Outcome> {
  const connection = new RTCPeerConnection();
  try {
    connection.createDataChannel("knock");
    const state = new Promise<Outcome["state"]>((resolve) => {
      connection.oniceconnectionstatechange = () => {
        const state = connection.iceConnectionState;
        if (state === "connected" || state === "completed") resolve("open");
        if (state === "disconnected") resolve("refused");
        if (state === "failed") resolve("silent");
      };
      setTimeout(() => resolve("silent"), ANSWER_MS);
    });
    await connection.setLocalDescription();
    const sdp = answerFor(sealed, address, port);
    await connection.setRemoteDescription({ type: "answer", sdp });
    return await state === "open"
      ? { state: "open", source: await sourceOf(connection) }
      : { state: await state as "refused" | "silent" };
  } finally {
    connection.close();
  }
}

/** The address that the answer says it came from; null: the browser keeps it back. */
async function sourceOf(connection: RTCPeerConnection): Promise<string | null> {
  const rows = new Map<string, Record<string, unknown>>();
  (await connection.getStats()).forEach((row) => rows.set(row.id, row));
  for (const row of rows.values()) {
    if (row["type"] !== "candidate-pair" || row["state"] !== "succeeded") {
      continue;
    }
    const local = rows.get(String(row["localCandidateId"]));
    const address = local?.["address"];
    if (typeof address === "string" && isAddress(address)) return address;
  }
  return null;
}
