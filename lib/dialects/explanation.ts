/** What a packet is, step by step, for the person who asks why nothing opens. */

import type { PacketRefusal, Request } from "./dialect.ts";

/** One thing that was looked at. */
export interface Step {
  readonly ok: boolean;
  /** In words, without secrets. */
  readonly text: string;
}

/** What became of a packet. */
export interface Explanation {
  /** What the server would say of it, before its clock and its policy. */
  readonly verdict: "request" | PacketRefusal;
  /** Whose it is, or whose it would be with the settings of `steps`; null: nobody's. */
  readonly client: string | null;
  readonly request: Request | null;
  /** The fields as they were sent, wherever a key of ours shows them. */
  readonly fields: Readonly<Record<string, string | number>> | null;
  readonly steps: readonly Step[];
}
