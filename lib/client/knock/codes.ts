/** One-time codes of a knock and its retries. */

import {
  oneTimeCode,
  parseCodeSecret,
  STEP_MS,
} from "../../dialects/crypto/codes.ts";
import type { Profile } from "../profile/profile.ts";
import type { CodeUse } from "./outcome.ts";

/** A packet's one-time code; null = it has none. */
interface PacketCode {
  readonly code: number | null;
  readonly use: CodeUse;
}

/**
 * The codes of one knock and its retries: the one that was typed, always, or
 * those of the profile's own secret. A server takes each code once, so a retry
 * within the same 30 s has the code of the step before, which is good still.
 * The next one is not touched: it belongs to the next knock.
 */
export class CodeSource {
  readonly #typed: number | null;
  readonly #secret: Uint8Array | null;
  readonly #tried = new Set<number>();

  constructor({ code }: Profile, typed: number | null) {
    this.#typed = typed;
    this.#secret = code === null ? null : parseCodeSecret(code);
  }

  /** True if packets carry codes. */
  get wanted(): boolean {
    return this.#typed !== null || this.#secret !== null;
  }

  /** The code for a further try at a time in Unix milliseconds. */
  next(nowMs: number): PacketCode {
    const code = this.#choose(nowMs);
    if (code === null) return { code, use: "none" };
    return { code, use: this.#tried.has(code) ? "again" : "first" };
  }

  /** Notes that a packet with this code is on its way. */
  spend({ code }: PacketCode): void {
    if (code !== null) this.#tried.add(code);
  }

  #choose(nowMs: number): number | null {
    if (this.#typed !== null || !this.#secret) return this.#typed;
    const codes = [nowMs, nowMs - STEP_MS].map((timeMs) =>
      oneTimeCode(this.#secret!, timeMs)
    );
    return codes.find((code) => !this.#tried.has(code)) ?? codes[0]!;
  }
}
