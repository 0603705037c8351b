/** Orders to the prober, and its answers. */

/** So long a reply is waited for. */
export const REPLY_US = 2_000_000;

/** Trigger of an opening: a datagram (base64), or the first packet of a connection. */
export type Trigger =
  | { readonly udp: string; readonly port: number }
  | { readonly tcp: number };

export type ProbeOrder =
  /** Sends the triggers, and connects until it does; measured from the last trigger on. */
  | {
    readonly do: "open";
    readonly source: string;
    /** Where the triggers come from, if not from there. */
    readonly from?: string;
    readonly target: string;
    /** Where the triggers go, if not there. */
    readonly at?: string;
    readonly port: number;
    readonly triggers: readonly Trigger[];
    readonly timeoutMs: number;
    /** Sends the triggers again after each of these, if it is still shut. */
    readonly againMs?: readonly number[];
    /** Sent instead, one after the other, on each further try. */
    readonly retries?: readonly (readonly Trigger[])[];
  }
  /** Sends a packet, waits for its reply, and then connects once. */
  | {
    readonly do: "reply";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly trigger: Extract<Trigger, { udp: string }>;
  }
  /** Opens a port for so many addresses from a first one on, by valid knocks. */
  | {
    readonly do: "fill";
    readonly enrolment: string;
    readonly from: number;
    readonly count: number;
    readonly port: number;
    readonly seconds: number;
  }
  /** Each of so many addresses makes its first hit, then each its second, …; then all connect. */
  | {
    readonly do: "interleave";
    readonly from: number;
    readonly count: number;
    readonly target: string;
    readonly hits: readonly number[];
    readonly port: number;
    /** Between the last hit and the connections. */
    readonly settleMs: number;
  }
  /** Connects again and again for so long, to see when a port is open that should be shut. */
  | {
    readonly do: "watch";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly forMs: number;
  }
  /** Connects and closes for so long. */
  | {
    readonly do: "connect";
    readonly source: string;
    readonly target: string;
    readonly port: number;
    readonly forMs: number;
  };

/** Times of a round; null: not in time. */
export interface Opened {
  /** True if the service was shut before. */
  readonly wasShut: boolean;
  readonly ms: number | null;
  readonly replyMs?: number | null;
  /** Triggers were sent so many times. */
  readonly tries?: number;
}

/** Time of a fill, and the knocks of it that were answered where a reply was wanted. */
export interface Filled {
  readonly ms: number;
  readonly answered: number;
  readonly asked: number;
}

/** Count of the addresses that were let in. */
export interface Interleaved {
  readonly open: number;
}

/** Times for which a watched port was open: from the last attempt before that failed to the first one after. */
export interface Openness {
  readonly openMs: readonly number[];
  readonly attempts: number;
}

export interface Connections {
  readonly perSecond: number;
}

/** The address with this number in 10.96.0.0/12, which is the client's. */
export function clientAddress(index: number): string {
  const address = (10 << 24 | 96 << 16) + index;
  return [24, 16, 8, 0].map((shift) => address >>> shift & 255).join(".");
}
