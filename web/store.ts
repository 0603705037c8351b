/// <reference lib="dom" />
/** Profiles in the browser's own database: the key stays one that cannot be extracted. */

import type { Keys } from "./seal.ts";

/** A profile as it is stored. */
export interface Profile extends Keys {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly at: readonly string[];
  readonly doh: string | null;
  readonly then: string | null;
  readonly auto: boolean;
  readonly code: boolean;
  /** Time to ask for, seconds; 0: as the server decides. */
  readonly seconds: number;
  /** Unix milliseconds of the last success; 0: never. */
  readonly openedMs: number;
}

/** A key pair that was made here and waits for its enrolment. */
export interface OwnPair {
  readonly key: CryptoKey;
  readonly publicKey: Uint8Array<ArrayBuffer>;
}

const NAME = "knock";
const PROFILES = "profiles";
const OWN = "own";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(PROFILES, { keyPath: "name" });
      request.result.createObjectStore(OWN);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function run<T>(
  store: string,
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(store, mode);
      const request = work(transaction.objectStore(store));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

/** Lists the profiles, by name. */
export function listProfiles(): Promise<Profile[]> {
  return run(PROFILES, "readonly", (store) => store.getAll());
}

/** Stores a profile in place of one of its name. */
export async function putProfile(profile: Profile): Promise<void> {
  await run(PROFILES, "readwrite", (store) => store.put(profile));
}

/** Removes a profile and its keys. */
export async function forgetProfile(name: string): Promise<void> {
  await run(PROFILES, "readwrite", (store) => store.delete(name));
}

/** The key pair that waits for an enrolment; undefined: none. */
export function ownPair(): Promise<OwnPair | undefined> {
  return run(OWN, "readonly", (store) => store.get("pair"));
}

/** Keeps a key pair until its enrolment comes; null removes it. */
export async function keepOwnPair(pair: OwnPair | null): Promise<void> {
  if (pair) await run(OWN, "readwrite", (store) => store.put(pair, "pair"));
  else await run(OWN, "readwrite", (store) => store.delete("pair"));
}
