/** Runs the command line of knockd's own client; without FFI on demand. */

import process from "node:process";
import { runDropIn } from "../../lib/commands/tools/seq.ts";
import type { Runtime } from "../../lib/runtime/runtime.ts";
import { runtime } from "../fakes/runtime.ts";

const args = process.argv.slice(2);
const withLibrary = args[0] !== "--no-library";
const world: Runtime = withLibrary
  ? runtime
  : { ...runtime, openLibrary: () => Promise.resolve(null) };
process.exit(await runDropIn(withLibrary ? args : args.slice(1), world));
