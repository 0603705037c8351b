/** What a conversion of another tool's configuration gives. */

/** Our configuration, and what has to be known about it. */
export interface Conversion {
  /** The text of `server.yaml`. It may hold secrets: mode 0600. */
  readonly text: string;
  /** What was not carried over, or wants a look; one line each, no secrets. */
  readonly warnings: readonly string[];
  /** Files with secrets that the configuration names, by name: mode 0600, beside it. */
  readonly files: ReadonlyMap<string, string>;
}
