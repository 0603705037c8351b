/** The dialects that a configuration's clients use, ready to open packets. */

import type { Client, Config } from "../../config/config.ts";
import type { Dialect } from "../../dialects/dialect.ts";
import { fwknopDialect } from "../../dialects/fwknop/open.ts";
import { knock1Dialect } from "../../dialects/knock1/open.ts";
import { openmeDialect } from "../../dialects/openme/open.ts";
import { openspaDialect } from "../../dialects/openspa/open.ts";
import type { Gpg } from "./gpg.ts";

/**
 * Makes each dialect that at least one client uses; a packet is tried in no
 * other. Our own comes first. One whose server key was not made yet is left out.
 * Without `gpg`, packets in OpenPGP are not opened.
 */
export function createDialects(config: Config, gpg?: Gpg): Dialect[] {
  const { clients, key, openme, openspa } = config;
  const dialects: Dialect[] = [];
  const knockers = clients.flatMap(({ name, knock, web }) =>
    knock ? [{ ...knock, name, web }] : []
  );
  if (knockers.length > 0) {
    dialects.push(knock1Dialect(key, knockers, config.maxSkewMs));
  }
  const fwknops = having(clients, "fwknop");
  if (fwknops.length > 0) {
    dialects.push(fwknopDialect(
      fwknops,
      gpg && ((home, message) => gpg.open(home, message)),
    ));
  }
  const openmes = having(clients, "openme");
  if (openmes.length > 0 && openme.key) {
    dialects.push(openmeDialect(openme.key, openmes));
  }
  const openspas = having(clients, "openspa");
  if (openspas.length > 0 && openspa.key) {
    dialects.push(openspaDialect(openspa.key, openspas, openspa.adkSecret));
  }
  return dialects;
}

/** The clients with keys of a dialect, by name. */
function having<D extends "knock" | "fwknop" | "openme" | "openspa">(
  clients: readonly Client[],
  dialect: D,
): ({ readonly name: string } & NonNullable<Client[D]>)[] {
  return clients.flatMap((client) => {
    const keys = client[dialect];
    return keys
      ? [{ ...keys as NonNullable<Client[D]>, name: client.name }]
      : [];
  });
}
