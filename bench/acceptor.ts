/**
 * A service that takes connections and ends them, at the TCP ports given as
 * arguments. It does nothing else, so that what is measured is the way to it.
 */

import process from "node:process";
import { acceptAll } from "./native.ts";

if (import.meta.main) {
  acceptAll(
    process.argv.slice(2).map(Number),
    () => process.stdout.write("ready\n"),
  );
}
