/**
 * A fleet: several gateways that share clients, grants and what was accepted,
 * on an engine that people run already. This is all that the rest of the
 * program knows of an engine; one file each makes etcd and NATS fit it.
 * @module
 */

import type { Certificates } from "../runtime/runtime.ts";

/** The engines that a configuration may name. */
export type EngineName = "etcd" | "nats";

/** The `fleet` section of a configuration, files read. */
export interface FleetConfig {
  readonly engine: EngineName;
  /** Addresses such as "https://10.0.0.1:2379", without a path. */
  readonly servers: readonly string[];
  /** Name of this gateway, unique in the fleet. */
  readonly name: string;
  /** Prefix of all keys, such as "knock/home". */
  readonly prefix: string;
  /** Secret that every gateway of the fleet has, 32 bytes. */
  readonly secret: Uint8Array;
  readonly tls: Certificates;
  /** User name and password; null = none. */
  readonly user: { readonly name: string; readonly password: string } | null;
  /** A token of NATS; null = none. */
  readonly token: string | null;
  /** Text of a NATS credentials file; null = none. */
  readonly credentials: string | null;
  /** Behaviour without the engine: refuse new knocks, or accept by the local record. */
  readonly without: "refuse" | "local";
  /** Age of the last news from the engine from which on nothing is accepted, milliseconds. */
  readonly staleMs: number;
}

/** Entry of a client that a fleet shares, as YAML made it, and the files that it names, as text. */
export interface SharedEntry {
  readonly entry: unknown;
  readonly files: Readonly<Record<string, string>>;
}

/** The folders of keys below the prefix. */
export const FOLDERS = {
  accepted: "accepted/",
  clients: "clients/",
  grants: "grants/",
  gateways: "gateways/",
} as const;

/**
 * Result of claiming a key: it is ours, another gateway has it, or nobody
 * knows. Unknown is never taken for ours.
 */
export type Claim =
  /** `along` is true if what was to be set along with it is set. */
  | { readonly state: "ours"; readonly along: boolean }
  /** `holder` is the value of the one that has it. */
  | { readonly state: "taken"; readonly holder: string }
  | { readonly state: "unknown"; readonly why: string };

/** A key below the prefix, and its value; null where the key was dropped. */
export interface KeyValue {
  readonly key: string;
  readonly value: string | null;
}

/** Keys that are set in the same write as a claim, and live for about so long, milliseconds. */
export interface Along {
  readonly pairs: readonly { readonly key: string; readonly value: string }[];
  readonly liveMs: number;
}

/** Receives the keys of a folder as they change, in order. What it throws SystemError for is told again. */
export interface FolderReader {
  /** All that is there follows, in batches; a key that is not among them until `end` is gone. */
  begin(): void;
  /** Keys that are there, or changed. `position` is where to go on from; null while all is told. */
  changed(changes: readonly KeyValue[], position: string | null): void;
  end(position: string): void;
  /** The engine cannot be read at the moment; it is tried again. */
  lost(why: string): void;
}

/** A folder to watch, or a single key. */
export interface WatchedFolder {
  /** Ends with "/"; a key does not. */
  readonly name: string;
  /** Position to go on from; null = tell all that is there first. */
  readonly position: string | null;
  readonly reader: FolderReader;
}

/** A watch that goes on until it is stopped. */
export interface FolderWatch {
  /** Reads on from another server: this one tells nothing any more. */
  again(): void;
  /** Resolves when nothing more is told. */
  stop(): Promise<void>;
}

/** Identity of an engine's data: another id, or a lower revision, is other data. */
export interface EngineMark {
  readonly id: string;
  readonly revision: number;
}

/** Facts about an engine that its answers told. */
export interface EngineSeen {
  /** Mark of its data at its last answer; null before the first. */
  readonly mark: EngineMark | null;
  /** Its clock less this machine's, milliseconds, exact to about a second; null before the first answer. */
  readonly aheadMs: number | null;
}

/** One server of an engine, as it answers. */
export interface EngineServer {
  readonly address: string;
  /** Its version; null where it does not answer. */
  readonly version: string | null;
  /** True for the one that leads. */
  readonly leads: boolean;
  /** Reason why it does not answer, or its own complaints; null = none. */
  readonly trouble: string | null;
}

/** Health of an engine. */
export interface EngineHealth {
  readonly servers: readonly EngineServer[];
  /** Settings and states that may lose data or refuse writes, a line each. */
  readonly warnings: readonly string[];
}

/**
 * An engine: keys with values, a create that is linear, and a watch. Keys are
 * below the prefix. Methods but `claim` throw SystemError when no server
 * answers, or the engine refuses.
 */
export interface FleetEngine {
  /** Such as "etcd". */
  readonly name: EngineName;
  /**
   * Creates a key that lives for at least so long, milliseconds, unless there
   * is one. Other keys are set along with it where the engine can: in the same
   * write, before the next heartbeat, and in no other data than this gateway's
   * last heartbeat is in. So where the answer was lost, the next heartbeat that
   * arrives ends the doubt: they are set by then, or never.
   */
  claim(
    key: string,
    value: string,
    liveMs: number,
    along?: Along | null,
  ): Promise<Claim>;
  /** Sets a key, or only where it is there; it lives for about so long, milliseconds, or for good where null. */
  put(
    key: string,
    value: string,
    liveMs: number | null,
    onlyIfThere?: boolean,
  ): Promise<void>;
  /** Sets the one key that is kept alive by setting it again: it dies so long after the last time. */
  beat(key: string, value: string, liveMs: number): Promise<void>;
  /** Drops a key; true if it was there. */
  drop(key: string): Promise<boolean>;
  /** Reads one key; null where there is none. */
  get(key: string): Promise<string | null>;
  /** Reads a folder, in batches and in no order. */
  list(folder: string): AsyncIterable<readonly KeyValue[]>;
  /** Watches folders and single keys, over one connection: what comes for one shows that it carries all. */
  watch(folders: readonly WatchedFolder[]): FolderWatch;
  readonly seen: EngineSeen;
  /** Asks every server how it is. Throws nothing. */
  health(): Promise<EngineHealth>;
  close(): Promise<void>;
}
