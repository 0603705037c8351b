/** What a configuration needs to know that is not in its text. */

import type { ReadKey } from "./files/key_file.ts";
import type { Mistake } from "../values/mistake.ts";

/** What the text alone does not say. */
export interface Surroundings {
  /** The configuration's file, as messages show it. */
  readonly file: string;
  /** Reads the server's private key, 32 bytes, or says why it cannot. */
  readonly readKey: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads the secret of a client's one-time codes, or says why it cannot. */
  readonly readCode: (name: string) => Uint8Array | Omit<Mistake, "path">;
  /** Reads another key; absent: there are no other files. */
  readonly readOther?: ReadKey;
  /** The state folder; `written` is what the configuration says of it. */
  readonly stateFolder: (written: string | null) => string;
  /** What is wrong with the file itself, to be told with all else. */
  readonly mistakes?: readonly Mistake[];
}
