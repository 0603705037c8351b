/** The dialects that a configuration's clients use, ready to open packets. */

import type { Config } from "../config/config.ts";
import type { Dialect } from "../dialects/dialect.ts";
import { knock1Dialect } from "../dialects/knock1.ts";

/** Makes each dialect that at least one client uses; a packet is tried in no other. */
export function createDialects(config: Config): Dialect[] {
  const knock = config.clients.flatMap(({ name, knock }) =>
    knock ? [{ name, ...knock }] : []
  );
  return knock.length > 0
    ? [knock1Dialect(config.key, knock, config.maxSkewMs)]
    : [];
}
