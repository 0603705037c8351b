/** The mark of an engine's data, kept up by its answers. */

import type { EngineMark, EngineSeen } from "./fleet.ts";

/** Facts that an engine's answers tell; by its marks it is known whether its data is other than before. */
export class EngineMarks implements EngineSeen {
  mark: EngineMark | null;
  aheadMs: number | null = null;
  /** Forgets what was of the data before; called first. */
  forget: () => void = () => {};
  readonly #replaced: () => void;

  /** `known` is the mark of an earlier process; `replaced` is called when the data is other than before. */
  constructor(known: EngineMark | null, replaced: () => void) {
    this.mark = known;
    this.#replaced = replaced;
  }

  /**
   * Notes the mark in an answer; `before` is that of when it was asked for. What
   * was asked after an answer came is answered with no lower revision, by
   * whichever server: else it is other data.
   */
  note(mark: EngineMark, before: EngineMark | null): void {
    const known = this.mark;
    const isOther = before !== null &&
      (mark.id !== before.id || mark.revision < before.revision);
    const isNoted = before !== null && known?.id === mark.id &&
      (mark.id !== before.id || known.revision < before.revision);
    if (isOther && !isNoted) {
      this.mark = mark;
      this.forget();
      this.#replaced();
    } else if (!known || mark.revision > known.revision) {
      this.mark = mark;
    }
  }
}
