/** What clients' keys must be to each other: no two clients share one. */

import { formatUuid } from "../values/uuid.ts";
import type { Client } from "./config.ts";
import { at, type Mistake } from "../values/mistake.ts";

/** What tells a client in each dialect, where it has keys for it. */
const MARKS: readonly {
  readonly path: string;
  readonly wanted: string;
  readonly of: (client: Client) => string | undefined;
}[] = [
  {
    path: "knock.key",
    wanted: "a key",
    of: ({ knock }) => knock?.key.toHex(),
  },
  {
    path: "fwknop.hmac_key_base64",
    wanted: "an HMAC key",
    of: ({ fwknop }) => fwknop?.hmac?.key.toHex(),
  },
  {
    path: "fwknop.key_base64",
    wanted: "a key",
    // With an HMAC, that alone tells who it is.
    of: ({ fwknop }) =>
      fwknop && !fwknop.hmac && "key" in fwknop
        ? fwknop.key.toHex()
        : undefined,
  },
  {
    path: "openme.key",
    wanted: "a key",
    of: ({ openme }) => openme?.key.toHex(),
  },
  {
    path: "openspa.uuid",
    wanted: "a UUID",
    of: ({ openspa }) => openspa ? formatUuid(openspa.uuid) : undefined,
  },
];

/** Checks that every client can be told from the others. */
export function checkKeys(
  clients: readonly Client[],
  mistakes: Mistake[],
): void {
  for (const { path, wanted, of } of MARKS) {
    const owners = new Map<string, string>();
    for (const client of clients) {
      const mark = of(client);
      if (mark === undefined) continue;
      const owner = owners.get(mark);
      if (owner === undefined) owners.set(mark, client.name);
      else {
        mistakes.push({
          path: at("clients", `${client.name}.${path}`),
          text: `must be ${wanted} of its own, got the same as client ` +
            `"${owner}"`,
        });
      }
    }
  }
}
