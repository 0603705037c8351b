/** The port sequences that the kernel judges, as it can judge them. */

import { FirewallError, type SequenceRules } from "../../firewall.ts";
import type { Nft } from "../library.ts";
import { lines } from "../../script.ts";

/**
 * Made and deleted in one step: it fails where the kernel cannot tell at which
 * ports something listens (nft_socket).
 */
const SOCKET_PROBE = lines(
  "table inet knock_probe {",
  "  chain probe {",
  "    socket wildcard { 0, 1 } return",
  "  }",
  "}",
  "delete table inet knock_probe",
);

/** The sequences of one server. */
export class NftSequences {
  readonly #nft: Nft;
  /** Whether the rules are in our own table, as in mode guard. */
  readonly #hasTable: boolean;
  #rules: SequenceRules | null = null;
  /** Null = not tried yet. */
  #seesSockets: boolean | null = null;

  constructor(nft: Nft, hasTable: boolean) {
    this.#nft = nft;
    this.#hasTable = hasTable;
  }

  /** Takes these for all that are to be judged. */
  set(rules: SequenceRules): void {
    this.#rules = rules;
  }

  /** The script that adds them; "" = none. Throws FirewallError in mode accept. */
  async text(): Promise<string> {
    const rules = this.#rules;
    const text = rules?.text(true) ?? "";
    if (!rules || text === "") return "";
    if (!this.#hasTable) {
      throw new FirewallError(
        "the kernel judges sequences in mode guard only",
        "watch: sniff, or firewall: { mode: guard }",
      );
    }
    this.#seesSockets ??= await this.#nft.run(SOCKET_PROBE)
      .then(() => true, () => false);
    return this.#seesSockets ? text : rules.text(false);
  }

  /** The script that deletes those in a listing of our table; null = there is no table. */
  clear(own: string | null): string {
    return own === null ? "" : this.#rules?.clear(own) ?? "";
  }
}
