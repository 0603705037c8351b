/** The engine that a configuration names; clients and gateways in it, as commands read and write them. */

import type { Runtime } from "../runtime/runtime.ts";
import { failing, FailureError, SystemError } from "../values/errors.ts";
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

/** Sealed values in the engine of a fleet. Methods throw SystemError. */
class SharedValues {
  readonly #runtime: Runtime;
  readonly #config: FleetConfig;
  readonly engine: FleetEngine;

  constructor(runtime: Runtime, config: FleetConfig, engine: FleetEngine) {
    this.#runtime = runtime;
    this.#config = config;
    this.engine = engine;
  }

  /** Reads a client's entry; null where there is none, or none of this fleet's. */
  async client(name: string): Promise<SharedEntry | null> {
    const key = FOLDERS.clients + name;
    const value = await this.engine.get(key);
    const opened = value === null ? null : this.#open(key, value);
    return opened && entryOf(opened);
  }

  async putClient(name: string, shared: SharedEntry): Promise<void> {
    const key = FOLDERS.clients + name;
    const { secret, prefix } = this.#config;
    const random = this.#runtime.random(16);
    const value = sealValue(secret, `${prefix}/${key}`, shared, random);
    await this.engine.put(key, value, null);
  }

  /** Drops a client; true if it was there. */
  dropClient(name: string): Promise<boolean> {
    return this.engine.drop(FOLDERS.clients + name);
  }

  /** All clients by name; null stands for a value that is not this fleet's. */
  async *clients(): AsyncIterable<readonly [string, SharedEntry | null]> {
    for await (const [name, value] of this.#all(FOLDERS.clients)) {
      yield [name, value && entryOf(value)];
    }
  }

  /** All gateways by name; null stands for a value that is not this fleet's. */
  gateways() {
    return this.#all(FOLDERS.gateways);
  }

  async *#all(
    folder: string,
  ): AsyncIterable<
    readonly [string, Readonly<Record<string, unknown>> | null]
  > {
    for await (const batch of this.engine.list(folder)) {
      for (const { key, value } of batch) {
        const opened = value === null ? null : this.#open(key, value);
        yield [key.slice(folder.length), opened];
      }
    }
  }

  #open(key: string, value: string) {
    const { secret, prefix } = this.#config;
    return openValue(secret, `${prefix}/${key}`, value);
  }
}

/** Does work with the values of a fleet. Throws FailureError where the engine does not answer. */
export async function withFleet<T>(
  runtime: Runtime,
  config: FleetConfig,
  work: (values: SharedValues) => Promise<T>,
): Promise<T> {
  const engine = await openEngine(runtime, config);
  try {
    return await work(new SharedValues(runtime, config, engine));
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `${config.engine} at ${config.servers.join(", ")}: ${error.message}`,
      "`knock fleet status` shows which of its servers answer",
    );
  } finally {
    await engine.close();
  }
}

function entryOf(
  { entry, files }: Readonly<Record<string, unknown>>,
): SharedEntry {
  const texts = isMapping(files) ? files : {};
  return { entry, files: texts as Record<string, string> };
}
