/** Writes a key to an engine: the name of the engine, the key, and its servers are the arguments, and the value is standard input. Exits with 1 where it does not take it. */

import process from "node:process";
import type { EngineName } from "../../lib/fleet/fleet.ts";
import { openEngine } from "../../lib/fleet/shared.ts";
import { SystemError } from "../../lib/values/errors.ts";
import { runtime } from "../fakes/runtime.ts";

const [engineName, key, ...servers] = process.argv.slice(2);
const value = new TextDecoder().decode(await runtime.readStdin(20_000_000));
const engine = await openEngine(runtime, {
  ...{ engine: engineName as EngineName, servers, name: "probe" },
  ...{ prefix: "knock/test", secret: new Uint8Array(32) },
  ...{ tls: { ca: null, cert: null, key: null }, user: null, token: null },
  ...{ credentials: null, without: "refuse", staleMs: 3_600_000 },
});
try {
  await engine.put(key!, value, null);
} catch (error) {
  if (!(error instanceof SystemError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
} finally {
  await engine.close();
}
