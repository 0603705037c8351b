/** What the enrolment of another tool's client begins with, and what it makes. */

import type { Config } from "../../config/config.ts";
import type { NewEntry } from "../../config/files/write.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Endpoint } from "../../values/address.ts";
import type { Options } from "../command.ts";
import type { NewFile } from "./new_files.ts";

/** What is asked for, and where to. */
export interface Adding {
  readonly runtime: Runtime;
  readonly options: Options;
  readonly config: Config;
  /** The configuration's text. */
  readonly text: string;
  /** The entry without its keys. */
  readonly policy: Omit<NewEntry, "keys">;
  /** How the client reaches the server: at this port if it listens there. */
  readonly server: (usualPort: number) => Endpoint;
}

/** What a new client of a dialect is made of. */
export interface NewKeys {
  /** A line of YAML for its entry. */
  readonly keys: string;
  readonly server: Endpoint;
  /** Files beside the configuration, and the client's own. */
  readonly files: readonly NewFile[];
  /** What goes to standard output: data, or where it is. */
  readonly out: string;
  /** What its apps scan; null where there are none. */
  readonly qr: string | null;
  readonly hints: readonly string[];
}
