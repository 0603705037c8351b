/**
 * The doors that port sequences open: has them watched, and does what a
 * complete sequence says.
 * @module
 */

import type {
  Config,
  SequenceEntry,
  SequencePrograms,
  Watch,
} from "../../config/config.ts";
import { fillIn } from "../../firewall/programs.ts";
import {
  grantee,
  type Sequence,
  type SequenceAction,
} from "../../sequences/sequence.ts";
import { isIpv4, prefixContains } from "../../values/address.ts";
import { counted } from "../../values/text.ts";
import { formatDuration } from "../../values/time.ts";
import type { Change } from "../grants/records.ts";
import { formatPorts } from "../report/events.ts";
import { attempt } from "../report/trouble.ts";
import type { Server } from "../state/server.ts";
import { type Completed, startWatch, type Watcher } from "./watch.ts";

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
) => Promise<boolean>;

/** The most sources whose last run is remembered; the oldest is forgotten first. */
const MAX_RUNS = 65_536;

/** When a door ran its program for a source, and whether a further one was told of. */
interface LastRun {
  readonly atMs: number;
  told: boolean;
}

/** All doors of a server. */
export class Sequences {
  readonly #server: Server;
  readonly #perform: Perform;
  readonly #troubles = new Map<Watch, string>();
  #doors: readonly SequenceEntry[] = [];
  #hasAdopted = false;
  #watchers: readonly Watcher[] = [];
  readonly #runs = new Map<string, LastRun>();

  constructor(server: Server, perform: Perform) {
    this.#server = server;
    this.#perform = perform;
  }

  /** Has the doors of a configuration watched from now on. */
  async adopt(config: Config): Promise<void> {
    const before = JSON.stringify(this.#doors);
    if (this.#hasAdopted && before === JSON.stringify(config.doors)) return;
    this.#hasAdopted = true;
    await this.stop();
    this.#doors = config.doors;
    this.#troubles.clear();
    const started = (["kernel", "sniff", "socket"] as const).map((watch) => {
      const doors = config.doors.filter((door) => door.watch === watch);
      return doors.length === 0 ? null : startWatch(watch, {
        runtime: this.#server.runtime,
        store: this.#server.store,
        config,
        doors,
        active: () => this.#active(doors),
        complete: (completed) => this.#complete(completed),
        changed: (trouble) => this.#changed(watch, trouble),
      });
    });
    this.#watchers = (await Promise.all(started)).filter((one) => one !== null);
    for (const door of this.#doors) this.#sayWhenUsedUp(door);
    this.#announce();
  }

  /** Runs what is to be run when a door's time is over. */
  sweep(): void {
    const { runtime, store } = this.#server;
    for (const { door: name, address } of store.doors.due(runtime.nowMs())) {
      store.doors.forget(name, address);
      const door = this.#doors.find((door) => door.name === name);
      if (door) this.#run(door, door.runAfter, address);
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#watchers.map((watcher) => watcher.stop()));
    this.#watchers = [];
  }

  /** The sequences that some doors answer to now. */
  #active(doors: readonly SequenceEntry[]): Sequence[] {
    return doors.flatMap((door) => {
      const opens = door.oneTime
        ? this.#server.store.doors.left(door).slice(0, 1)
        : door.opens;
      return door.closes ? [...opens, door.closes] : opens;
    });
  }

  /** Does what a complete sequence says. Never throws. */
  #complete({ name, action, address, inKernel, sequence }: Completed): void {
    const { runtime, store } = this.#server;
    const door = this.#doors.find((door) => door.name === name);
    const model = action === "open" ? door?.opens[0] : door?.closes;
    if (!door || !model) return;
    if (door.from?.every((prefix) => !prefixContains(prefix, address))) {
      this.#server.counters.add("left out: from");
      return;
    }
    const nowMs = runtime.nowMs();
    const { open, forSeconds } = model;
    const argv = programFor(door.run, address);
    const leftOut = action === "open" && argv !== null &&
      this.#isTooSoon(door, address);
    if (leftOut && open.length === 0 && !door.oneTime) return;
    const note = () => {
      if (action === "close") return;
      if (door.oneTime && sequence) store.doors.burn(sequence);
      if (leftOut && open.length === 0) return;
      if (!programFor(door.runAfter, address)) return;
      store.doors.remind(name, address, nowMs + forSeconds * 1000);
    };
    const runs = argv !== null && action === "open" && open.length === 0;
    const ends = open.length > 0 || programFor(door.runAfter, address) !== null;
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
    ).then((done) => {
      if (done && !leftOut) this.#follow(door, action, address);
    });
    if (!door.oneTime || action === "close") return;
    this.#sayWhenUsedUp(door);
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
      if (!last.told) {
        log(
          "info",
          `sequences.${name}: run for ${address} left out, every ` +
            formatDuration(every),
        );
      }
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
  #follow(door: SequenceEntry, action: SequenceAction, address: string): void {
    if (action === "open") return this.#run(door, door.run, address);
    attempt(this.#server.log, () => {
      // What was to be run at the end is run now: this is the end.
      const { store } = this.#server;
      if (!store.doors.forget(door.name, address)) return;
      this.#run(door, door.runAfter, address);
    });
  }

  #run(door: SequenceEntry, programs: SequencePrograms, address: string): void {
    const argv = programFor(programs, address);
    if (!argv) return;
    const { runtime, runner } = this.#server;
    const [model] = door.opens;
    const seconds = model?.forSeconds ?? 0;
    const client = grantee(door.name);
    const [program, ...args] = fillIn(argv, {
      client,
      address,
      family: isIpv4(address) ? "ipv4" : "ipv6",
      ports: formatPorts(model?.open ?? []),
      seconds: `${seconds}`,
      until: new Date(runtime.nowMs() + seconds * 1000).toISOString(),
    });
    runner.run(client, [program!, ...args], { client, address });
  }

  #sayWhenUsedUp(door: SequenceEntry): void {
    attempt(this.#server.log, () => {
      if (!door.oneTime) return;
      const { log, store } = this.#server;
      const left = store.doors.left(door).length;
      const words = `sequences.${door.name}: `;
      if (left === 0) {
        log("warn", `${words}all one-time sequences are used: it stays shut`);
      } else {
        log("info", `${words}${counted(left, "one-time sequence")} left`);
      }
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
      const facts = this.#doors.map((door): SequenceFact => ({
        name: door.name,
        watch: door.watch,
        left: door.oneTime ? store.doors.left(door).length : null,
        trouble: this.#troubles.get(door.watch) ?? null,
      }));
      store.setFact("doors", facts);
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
