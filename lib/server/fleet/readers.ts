/**
 * Readers of the engine: clients into their file, grants into the firewall,
 * and this gateway's own heartbeat, by which it knows that it hears.
 * @module
 */

import {
  type FolderReader,
  FOLDERS,
  type KeyValue,
} from "../../fleet/fleet.ts";
import { entryOf } from "../../fleet/shared.ts";
import { dropGrants } from "../grants/upkeep.ts";
import { setPrefilter } from "../packet/prefilter.ts";
import { attempt, stateTrouble } from "../report/log.ts";
import { activate, loadDialects, type Server } from "../state/server.ts";
import {
  closeShared,
  grantId,
  openShared,
  readGrant,
  type SharedGrant,
} from "./grants.ts";
import type { Outbox } from "./outbox.ts";
import type { FleetParts } from "./values.ts";

/** Reads clients into the book, and ends the grants of those that are gone. */
export function clientsReader(
  { server, book, values }: FleetParts,
): FolderReader {
  const { log, queue } = server;
  let isWhole = true;
  const take = ({ key, value }: KeyValue) => {
    const name = key.slice(FOLDERS.clients.length);
    const shared = value === null ? null : values.open(key, value);
    // One whose value was spoilt is no client any more.
    if (!shared) return void book.drop(name);
    book.put(name, entryOf(shared));
  };
  const goOn = () => {
    const isOther = book.changed();
    attempt(log, () =>
      queue.add(async () => {
        if (isOther) await renewDialects(server);
        await dropGrants(server, server.active.config);
      }));
  };
  return guarded(server, {
    begin: () => {
      isWhole = false;
      book.begin();
    },
    changed: (changes, position) => {
      book.transaction(() => {
        for (const change of changes) take(change);
        if (position !== null) book.setFact("position", position);
      });
      if (isWhole) goOn();
    },
    end: (position) => {
      isWhole = true;
      book.transaction(() => {
        book.sweep();
        book.setFact("position", position);
      });
      goOn();
    },
    // A client that was removed must not stay.
  }, true);
}

/** Reads grants, and closes those that it could not when they were told. */
interface GrantsReader extends FolderReader {
  closeLate(): void;
}

/** Reads grants, opens and closes them here; `takeReplaced` is true once after the engine's data became other data. */
export function grantsReader(
  { server, config, mirror, values }: FleetParts,
  outbox: Outbox,
  takeReplaced: () => boolean,
): GrantsReader {
  /** Grants that could not be closed, as on a full disk, by key. */
  const unclosed = new Map<string, SharedGrant>();
  const close = (id: string, grant: SharedGrant) => {
    const nowMs = server.runtime.nowMs();
    const others = mirror.of(grant.client, grant.address, nowMs);
    const isDone = closeShared(server, grant, others.map(([, one]) => one));
    if (isDone) unclosed.delete(id);
    else unclosed.set(id, grant);
    return isDone;
  };
  const drop = (id: string) => {
    const grant = mirror.take(id);
    if (grant) close(id, grant);
  };
  const reader = guarded(server, {
    begin: () => mirror.begin(),
    changed: (changes) => {
      const told = new Map<string, SharedGrant>();
      for (const { key, value } of changes) {
        const id = key.slice(FOLDERS.grants.length);
        // What is on its way there is newer.
        if (outbox.isAhead(id, value === null)) continue;
        if (value === null) {
          told.delete(id);
          drop(id);
          continue;
        }
        const opened = values.open(key, value);
        const grant = opened && readGrant(opened);
        if (!grant || grantId(grant) !== id) continue;
        mirror.put(id, grant);
        told.set(id, grant);
      }
      openShared(server, [...told.values()]);
    },
    end: () => {
      const old = mirror.old().filter((id) => !outbox.isAhead(id, true));
      if (!takeReplaced()) return old.forEach(drop);
      // Nobody closed what the engine has lost: each gateway tells its own again.
      const nowMs = server.runtime.nowMs();
      for (const id of old) {
        const grant = mirror.take(id);
        if (grant?.gateway !== config.name || grant.untilMs <= nowMs) continue;
        mirror.put(id, grant);
        outbox.again(id, grant);
      }
      outbox.send();
    },
  });
  return {
    ...reader,
    closeLate: () =>
      void [...unclosed].every(([id, grant]) => close(id, grant)),
  };
}

/** Reads one key, and tells what it says. */
export function ownReader(
  { server, values }: FleetParts,
  told: (value: Readonly<Record<string, unknown>>) => void,
): FolderReader {
  return guarded(server, {
    begin: () => {},
    changed: (changes) => {
      for (const { key, value } of changes) {
        const opened = value === null ? null : values.open(key, value);
        if (opened) told(opened);
      }
    },
    end: () => {},
  });
}

/** Has a reader's failures logged: a full disk, say; `isAgain`: what failed is told again. */
function guarded(
  { log }: Server,
  { begin, changed, end }: Omit<FolderReader, "lost">,
  isAgain = false,
): FolderReader {
  const guard = (work: () => void) => {
    try {
      work();
    } catch (error) {
      log("error", stateTrouble(error));
      if (isAgain) throw error;
    }
  };
  return {
    begin: () => guard(begin),
    changed: (changes, position) => guard(() => changed(changes, position)),
    end: (position) => guard(() => end(position)),
    // The heartbeat tells of it.
    lost: () => {},
  };
}

/** Has the server open packets of the clients that there are now. Belongs in the queue. Throws FirewallError. */
export async function renewDialects(server: Server): Promise<void> {
  await useDialects(server);
  await setPrefilter(server, server.active);
}

/** As {@linkcode renewDialects}, before the firewall is set up. */
export async function useDialects(server: Server): Promise<void> {
  const { active: { config, firewall }, gpg, fleet } = server;
  const dialects = await loadDialects(config, gpg, fleet);
  server.active = activate(config, firewall, dialects);
}
