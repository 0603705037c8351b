/** What became of a knock. */

import type { Answer } from "../../dialects/dialect.ts";
import type { Endpoint } from "../../values/address.ts";

export type Outcome = Answered | Sent | Silent;

/** The server answered, whatever it said. */
export interface Answered {
  readonly kind: "answered";
  readonly answer: Answer;
  /** Where the answer came from. */
  readonly from: Endpoint;
  /** From the packet that was answered to its answer. */
  readonly roundTripMs: number;
  /** The server's clock less this machine's; negative: it is behind. */
  readonly clockAheadMs: number;
  /** The one-time code of the packet that was answered. */
  readonly code: CodeUse;
}

/** Whether a packet has a one-time code, and whether a try before it, which was not answered, had the same. */
export type CodeUse = "none" | "first" | "again";

/** No answer was wanted, and the packet is on its way to these addresses. */
export interface Sent {
  readonly kind: "sent";
  readonly addresses: readonly string[];
}

/** No answer came from these addresses. */
export interface Silent {
  readonly kind: "silent";
  readonly addresses: readonly string[];
  readonly tries: number;
}
