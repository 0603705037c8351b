/** The rest of the configuration, as its doors see it. */

import type { Service } from "./config.ts";
import type { ServerYaml } from "./shape.ts";

/** What doors are held against. */
export interface DoorSetting {
  readonly yaml: ServerYaml;
  readonly services: readonly Service[];
  /** The names of all services, of those with mistakes too. */
  readonly serviceNames: readonly string[];
}
