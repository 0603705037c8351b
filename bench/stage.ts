/**
 * Where the measurements are made: a server's and a client's namespace joined
 * by a cable, a service, and the prober beside the client. All of 10.96.0.0/12
 * is the client's, so that every round comes from an address that is new to
 * the server: it starts shut without anything being closed.
 * @module
 */

import { fileURLToPath } from "node:url";
import {
  Pair,
  pass,
  scriptCommand,
  SERVER,
  Talker,
} from "../tests/netns/netns.ts";
import {
  clientAddress,
  type Opened,
  type ProbeOrder,
  type Trigger,
} from "./prober/orders.ts";

/** The service's port, guarded where something guards. */
export const SERVICE_PORT = 22;

const CLIENTS = "10.96.0.0/12";
const NEXT_HOP = "10.77.0.2";
/** A round that opens nothing by then has failed. */
const OPEN_MS = 3000;
const WAIT_MS = 10;

/** Two namespaces with what every measurement needs; gone after {@linkcode Stage.remove}. */
export class Stage {
  readonly pair = new Pair();
  #prober: Talker | null = null;
  #next = 1;

  /** Makes a stage for some work, and removes it whatever happens. */
  static async with<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
    const stage = new Stage();
    Stage.#current.add(stage);
    try {
      await stage.#make();
      return await work(stage);
    } finally {
      await stage.pair.remove();
      Stage.#current.delete(stage);
    }
  }

  /** Removes what there is now, for who is told to end. */
  static async removeAll(): Promise<void> {
    for (const stage of Stage.#current) await stage.pair.remove();
  }

  static readonly #current = new Set<Stage>();

  async #make(): Promise<void> {
    const { pair } = this;
    await pair.make();
    await pair.onServer(["ip", "route", "add", CLIENTS, "via", NEXT_HOP]);
    // deno-fmt-ignore
    const local = await pair.exec(pair.client, [
      "ip", "route", "add", "local", CLIENTS, "dev", "lo",
    ]);
    if (local.code !== 0) throw new Error(local.stderr);
    await this.#startAcceptor();
    this.#prober = new Talker(pair.spawn(pair.client, script("prober.ts")));
  }

  async #startAcceptor(): Promise<void> {
    const { pair } = this;
    const child = pair.spawn(
      pair.server,
      script("acceptor.ts", String(SERVICE_PORT)),
    );
    await new Promise<void>((resolve, reject) => {
      child.stdout!.once("data", () => resolve());
      child.once("exit", () => reject(new Error("the service did not start")));
    });
  }

  /** An address of the client's that was not used before. */
  freshAddress(): string {
    return clientAddress(this.#next++);
  }

  ask<T>(order: ProbeOrder): Promise<T> {
    return this.#prober!.ask<T>(order);
  }

  /** Times rounds, each from an address of its own, with pauses of up to so long. */
  async timeOpenings(
    rounds: number,
    prepare: (source: string) => readonly Trigger[],
    pauseMs = 0,
  ): Promise<Openings> {
    const openings: Openings = { ms: [], notShut: 0, failed: 0 };
    for (let round = -WARM_UP; round < rounds; round++) {
      const source = this.freshAddress();
      const opened = await this.ask<Opened>({
        do: "open",
        source,
        target: SERVER[4],
        port: SERVICE_PORT,
        triggers: prepare(source),
        timeoutMs: OPEN_MS,
      });
      if (round >= 0) note(openings, opened);
      // Not in step with what a peer does every so many milliseconds.
      if (pauseMs > 0) await pass(Math.random() * pauseMs);
    }
    return openings;
  }

  /** The same, by waiting for the reply and connecting once. */
  async timeReplies(
    rounds: number,
    prepare: (source: string) => Extract<Trigger, { udp: string }>,
  ): Promise<Openings & { readonly replyMs: number[] }> {
    const openings = { ms: [], notShut: 0, failed: 0, replyMs: [] as number[] };
    for (let round = -WARM_UP; round < rounds; round++) {
      const source = this.freshAddress();
      const opened = await this.ask<Opened>({
        do: "reply",
        source,
        target: SERVER[4],
        port: SERVICE_PORT,
        trigger: prepare(source),
      });
      if (round < 0) continue;
      note(openings, opened);
      if (opened.replyMs != null) openings.replyMs.push(opened.replyMs);
    }
    return openings;
  }
}

/** Times of some rounds. */
export interface Openings {
  /** Of those that opened, in milliseconds. */
  readonly ms: number[];
  /** Rounds that do not count: the service was open before. */
  notShut: number;
  failed: number;
}

/** Throws unless nearly every round opened what was shut before. */
export function expectAll(openings: Openings, rounds: number): void {
  if (openings.ms.length >= rounds * 0.95) return;
  throw new Error(
    `of ${rounds} rounds ${openings.ms.length} opened, ` +
      `${openings.notShut} were open before, ${openings.failed} failed`,
  );
}

/** Rounds before those that count. */
const WARM_UP = 10;

function note(openings: Openings, { wasShut, ms }: Opened): void {
  if (!wasShut) openings.notShut++;
  else if (ms === null) openings.failed++;
  else openings.ms.push(ms);
}

/** The argv of a script of this folder under this runtime. */
export function script(file: string, ...args: string[]): string[] {
  return scriptCommand(
    fileURLToPath(new URL(file, import.meta.url)),
    ...args,
  );
}

/** Resolves when a condition holds; throws the words if it does not in time. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  words: string,
  withinMs = 10_000,
): Promise<void> {
  for (let waited = 0; waited < withinMs; waited += WAIT_MS) {
    if (await holds()) return;
    await pass(WAIT_MS);
  }
  throw new Error(words);
}
