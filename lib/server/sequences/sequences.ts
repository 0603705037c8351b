/**
 * Port sequences of the configuration: has them watched, and does what a
 * complete sequence says.
 * @module
 */

import type {
  Config,
  SequenceEntry,
  SequencePrograms,
  Watch,
} from "../../config/config.ts";
import { fillIn } from "../../firewall/command/programs.ts";
import {
  grantee,
  type Sequence,
  type SequenceAction,
} from "../../sequences/sequence.ts";
import { isIpv4, prefixContains } from "../../values/address.ts";
import { counted } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import type { Change } from "../grants/records.ts";
import type { OneTime } from "../packet/decide.ts";
import { attempt, formatPorts } from "../report/log.ts";
import { sequenceIdentity } from "../state/sequences.ts";
import type { Server } from "../state/server.ts";
import { type Completed, type Watcher, WATCHES } from "./watch.ts";

/** Facts about a sequence that `status` reads. */
export interface SequenceFact {
  readonly name: string;
  readonly watch: Watch;
  /** One-time sequences that are left; null where there are none such. */
  readonly left: number | null;
  /** Why it cannot be heard; null when it can. */
  readonly trouble: string | null;
}

/** Records a change together with `note`, and carries it out; whether it was done. */
export type Perform = (
  change: Omit<Change, "before">,
  note: () => void,
  nowMs: number,
  once: OneTime | null,
) => Promise<boolean>;

/** The most sources whose last run is remembered; the oldest is forgotten first. */
const MAX_RUNS = 65_536;

export class Sequences {
  readonly #server: Server;
  readonly #perform: Perform;
  readonly #troubles = new Map<Watch, string>();
  #entries: readonly SequenceEntry[] = [];
  #hasAdopted = false;
  #watchers: readonly Watcher[] = [];
  /** When an entry ran its program for a source, and whether it was logged that a later run was left out. */
  readonly #runs = new Map<string, { readonly atMs: number; told: boolean }>();

  constructor(server: Server, perform: Perform) {
    this.#server = server;
    this.#perform = perform;
  }

  /** Has the entries of a configuration watched from now on. */
  async adopt(config: Config): Promise<void> {
    const before = JSON.stringify(this.#entries);
    if (this.#hasAdopted && before === JSON.stringify(config.sequences)) return;
    this.#hasAdopted = true;
    await this.stop();
    this.#entries = config.sequences;
    this.#troubles.clear();
    const started = (["kernel", "sniff", "socket"] as const).map((watch) => {
      const sequences = config.sequences.filter((entry) =>
        entry.watch === watch
      );
      return sequences.length === 0 ? null : WATCHES[watch]({
        runtime: this.#server.runtime,
        store: this.#server.store,
        config,
        sequences,
        active: () => this.#active(sequences),
        complete: (completed) => this.#complete(completed),
        changed: (trouble) => this.#changed(watch, trouble),
      });
    });
    this.#watchers = (await Promise.all(started)).filter((one) => one !== null);
    for (const entry of this.#entries) this.#sayWhenUsedUp(entry);
    this.#announce();
  }

  /** Runs what is to be run when an entry's time is over. */
  sweep(): void {
    const { runtime, store } = this.#server;
    for (const { name, address } of store.sequences.due(runtime.nowMs())) {
      store.sequences.forget(name, address);
      const entry = this.#entries.find((entry) => entry.name === name);
      if (entry) this.#run(entry, entry.runAfter, address);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#watchers.map((watcher) => watcher.stop()));
    this.#watchers = [];
  }

  /** The sequences that some entries answer to now. */
  #active(sequences: readonly SequenceEntry[]): Sequence[] {
    return sequences.flatMap((entry) => {
      const opens = entry.oneTime
        ? this.#server.store.sequences.left(entry).slice(0, 1)
        : entry.opens;
      return entry.closes ? [...opens, entry.closes] : opens;
    });
  }

  /** Carries out a complete sequence. Never throws. */
  #complete({ name, action, address, inKernel, sequence }: Completed): void {
    const { runtime, store } = this.#server;
    const entry = this.#entries.find((entry) => entry.name === name);
    const model = action === "open" ? entry?.opens[0] : entry?.closes;
    if (!entry || !model) return;
    if (entry.from?.every((prefix) => !prefixContains(prefix, address))) {
      this.#server.counters.add("left out: from");
      return;
    }
    const nowMs = runtime.nowMs();
    const { open, forSeconds } = model;
    const argv = programFor(entry.run, address);
    const after = programFor(entry.runAfter, address);
    const leftOut = action === "open" && argv !== null &&
      this.#isTooSoon(entry, address);
    if (leftOut && open.length === 0 && !entry.oneTime) return;
    const note = () => {
      if (action === "close") return;
      if (entry.oneTime && sequence) store.sequences.burn(sequence);
      if (leftOut && open.length === 0 || !after) return;
      store.sequences.remind(name, address, nowMs + forSeconds * 1000);
    };
    const runs = argv !== null && action === "open" && open.length === 0;
    const ends = open.length > 0 || after !== null;
    this.#perform(
      {
        client: grantee(name),
        dialect: "sequence",
        action: open.length > 0 ? action : runs ? "run" : "ping",
        command: runs ? argv[0] : null,
        address,
        ports: open,
        seconds: action === "open" && ends ? forSeconds : 0,
        to: null,
        run: null,
        inKernel,
      },
      note,
      nowMs,
      entry.oneTime && sequence && action === "open"
        ? {
          identity: sequenceIdentity(sequence),
          burn: () => store.sequences.burn(sequence),
        }
        : null,
    ).then((done) => {
      if (done && !leftOut) this.#follow(entry, action, address);
    });
    if (!entry.oneTime || action === "close") return;
    this.#sayWhenUsedUp(entry);
    this.#announce();
  }

  /** Returns true if `every` skips a run, which is counted, and logged once per interval. */
  #isTooSoon({ name, every }: SequenceEntry, address: string): boolean {
    if (!every) return false;
    const { runtime, counters, log } = this.#server;
    const key = `${name} ${address}`;
    const nowMs = runtime.monotonicMs();
    const last = this.#runs.get(key);
    if (last && nowMs - last.atMs < every * 1000) {
      counters.add("left out: every");
      const words = `run for ${address} left out, every ${
        formatDuration(every)
      }`;
      if (!last.told) log("info", `sequences.${name}: ${words}`);
      last.told = true;
      return true;
    }
    this.#runs.delete(key);
    this.#runs.set(key, { atMs: nowMs, told: false });
    if (this.#runs.size > MAX_RUNS) {
      this.#runs.delete(this.#runs.keys().next().value!);
    }
    return false;
  }

  /** Runs commands and hooks after the firewall. */
  #follow(entry: SequenceEntry, action: SequenceAction, address: string): void {
    if (action === "open") return this.#run(entry, entry.run, address);
    attempt(this.#server.log, () => {
      // What was to be run at the end is run now: this is the end.
      const { store } = this.#server;
      if (!store.sequences.forget(entry.name, address)) return;
      this.#run(entry, entry.runAfter, address);
    });
  }

  #run(
    entry: SequenceEntry,
    programs: SequencePrograms,
    address: string,
  ): void {
    const argv = programFor(programs, address);
    if (!argv) return;
    const { runtime, runner } = this.#server;
    const { open = [], forSeconds: seconds = 0 } = entry.opens[0] ?? {};
    const client = grantee(entry.name);
    const [program, ...args] = fillIn(argv, {
      client,
      address,
      family: isIpv4(address) ? "ipv4" : "ipv6",
      ports: formatPorts(open),
      seconds: `${seconds}`,
      until: new Date(runtime.nowMs() + seconds * 1000).toISOString(),
    });
    runner.run(client, [program!, ...args], { client, address });
  }

  #sayWhenUsedUp(entry: SequenceEntry): void {
    attempt(this.#server.log, () => {
      if (!entry.oneTime) return;
      const { log, store } = this.#server;
      const left = store.sequences.left(entry).length;
      const words = `sequences.${entry.name}: `;
      if (left > 0) {
        log("info", `${words}${counted(left, "one-time sequence")} left`);
      } else {log(
          "warn",
          `${words}all one-time sequences are used: it stays shut`,
        );}
    });
  }

  #changed(watch: Watch, trouble: string | null): void {
    const { log } = this.#server;
    const before = this.#troubles.get(watch) ?? null;
    if (trouble === null) this.#troubles.delete(watch);
    else this.#troubles.set(watch, trouble);
    if (trouble !== before) {
      const [level, words] = trouble === null
        ? ["info", "are heard"] as const
        : ["error", `${EFFECTS[watch]}: ${trouble}`] as const;
      log(level, `sequences (watch: ${watch}) ${words}`);
    }
    this.#announce();
  }

  #announce(): void {
    attempt(this.#server.log, () => {
      const { store } = this.#server;
      const facts = this.#entries.map((entry): SequenceFact => ({
        name: entry.name,
        watch: entry.watch,
        left: entry.oneTime ? store.sequences.left(entry).length : null,
        trouble: this.#troubles.get(entry.watch) ?? null,
      }));
      store.setFact("sequences", facts);
    });
  }
}

/** Consequence of a watch that fails. */
const EFFECTS: Readonly<Record<Watch, string>> = {
  kernel: "open in the kernel all the same, but are not told of: no hooks, " +
    "no history, and what they open ends with a restart of the server",
  sniff: "are not heard, and open nothing",
  socket: "are not heard, and open nothing",
};

function programFor({ ipv4, ipv6 }: SequencePrograms, address: string) {
  return isIpv4(address) ? ipv4 : ipv6;
}
