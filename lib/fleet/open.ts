/** The engine that a configuration names. */

import type { Runtime } from "../runtime/runtime.ts";
import { failing, FailureError } from "../values/errors.ts";
import type { EngineMark, FleetConfig, FleetEngine } from "./fleet.ts";

/** Makes an engine; `known` is the mark that an earlier process saw last, `replaced` is called when its data is other than before. Throws FailureError for certificates that cannot be used. */
type MakeEngine = (
  known: EngineMark | null,
  replaced: () => void,
) => FleetEngine;

/** Loads the engine of a fleet. It need not answer yet. */
export async function openEngine(
  runtime: Runtime,
  config: FleetConfig,
): Promise<MakeEngine> {
  const Engine = config.engine === "etcd"
    ? (await import("./etcd/engine.ts" as string)).EtcdEngine
    : (await import("./nats/engine.ts" as string)).NatsEngine;
  return (known, replaced) =>
    failing((error) =>
      new FailureError(
        `fleet.tls: ${error.message}`,
        "give PEM files: ca, and cert with its key",
      ), () => new Engine(runtime, config, known, replaced));
}
