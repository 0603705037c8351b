/** The engine that a configuration names; clients and gateways in it, as commands read and write them. */

import type { Runtime } from "../runtime/runtime.ts";
import { failing, FailureError } from "../values/errors.ts";
import { isMapping } from "../values/schema.ts";
import {
  type EngineMark,
  type FleetConfig,
  type FleetEngine,
  FOLDERS,
  type SharedEntry,
} from "./fleet.ts";
import { EngineMarks } from "./mark.ts";
import { openValue, sealValue } from "./seal.ts";

/**
 * Loads the engine of a fleet, which need not answer yet. `known` is the mark
 * that an earlier process saw last, `replaced` is called when the data is other
 * than before. Throws FailureError for certificates that cannot be used.
 */
export async function openEngine(
  runtime: Runtime,
  config: FleetConfig,
  known: EngineMark | null = null,
  replaced: () => void = () => {},
): Promise<FleetEngine> {
  const Engine = config.engine === "etcd"
    ? (await import("./etcd/engine.ts" as string)).EtcdEngine
    : (await import("./nats/engine.ts" as string)).NatsEngine;
  return failing((error) =>
    new FailureError(
      `fleet.tls: ${error.message}`,
      "give PEM files: ca, and cert with its key",
    ), () => new Engine(runtime, config, new EngineMarks(known, replaced)));
}

/** Sealed values in the engine of a fleet. Functions throw SystemError. */
function valuesIn(runtime: Runtime, config: FleetConfig, engine: FleetEngine) {
  const { secret, prefix } = config;
  const open = (key: string, value: string | null) =>
    value === null ? null : openValue(secret, `${prefix}/${key}`, value);
  async function* all(folder: string) {
    for await (const batch of engine.list(folder)) {
      for (const { key, value } of batch) {
        yield [key.slice(folder.length), open(key, value)] as const;
      }
    }
  }
  return {
    engine,
    /** Reads a client's entry; null where there is none, or none of this fleet's. */
    async client(name: string): Promise<SharedEntry | null> {
      const key = FOLDERS.clients + name;
      const opened = open(key, await engine.get(key));
      return opened && entryOf(opened);
    },
    async putClient(name: string, shared: SharedEntry): Promise<void> {
      const key = FOLDERS.clients + name;
      const random = runtime.random(16);
      const value = sealValue(secret, `${prefix}/${key}`, shared, random);
      await engine.put(key, value, null);
    },
    /** Drops a client; true if it was there. */
    dropClient: (name: string) => engine.drop(FOLDERS.clients + name),
    /** All clients by name; null stands for a value that is not this fleet's. */
    async *clients() {
      for await (const [name, value] of all(FOLDERS.clients)) {
        yield [name, value && entryOf(value)] as const;
      }
    },
    /** All gateways by name; null stands for a value that is not this fleet's. */
    gateways: () => all(FOLDERS.gateways),
  };
}

/** Does work with the values of a fleet. Throws FailureError where the engine does not answer. */
export async function withFleet<T>(
  runtime: Runtime,
  config: FleetConfig,
  work: (values: ReturnType<typeof valuesIn>) => Promise<T>,
): Promise<T> {
  const engine = await openEngine(runtime, config);
  try {
    return await failing(
      `${config.engine} at ${config.servers.join(", ")}`,
      () => work(valuesIn(runtime, config, engine)),
      "`knock fleet status` shows which of its servers answer",
    );
  } finally {
    await engine.close();
  }
}

/** A client's entry in an opened value. */
export function entryOf(
  { entry, files }: Readonly<Record<string, unknown>>,
): SharedEntry {
  const texts = isMapping(files) ? files : {};
  return { entry, files: texts as Record<string, string> };
}
