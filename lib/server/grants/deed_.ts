/** What is done for a client or a sequence: the words that deciding, recording and doing share. */

import type { Action } from "../../dialects/dialect.ts";
import type { PortRange } from "../../values/ports.ts";
import type { Asker } from "../report/chronicle.ts";
import type { Verdict } from "../packet/judge.ts";

/** What was asked for and let pass, as far as it was. */
export type Granted = Extract<Verdict, { ok: true }>;

/** What is done, and for whom. */
export interface Deed extends Asker {
  readonly action: Action;
  /** Whether the kernel has done it by itself already. */
  readonly inKernel?: boolean;
}

/** What a complete port sequence does: it has no client whose policy says no. */
export interface Claim extends Deed {
  /** Canonical. */
  readonly address: string;
  readonly ports: readonly PortRange[];
  /** 0 for all but `open`. */
  readonly seconds: number;
  /** Writes down what belongs to the same record. */
  readonly record?: () => void;
}
