/** Every parser of the program, with what it is fed at first. */

import { TARGETS as files } from "./targets/files.ts";
import { TARGETS as fwknop } from "./targets/fwknop.ts";
import { TARGETS as knock1 } from "./targets/knock1.ts";
import { TARGETS as network } from "./targets/network.ts";
import { TARGETS as openme } from "./targets/openme.ts";
import { TARGETS as openspa } from "./targets/openspa.ts";
import { TARGETS as texts } from "./targets/texts.ts";
import { TARGETS as web } from "./targets/web.ts";
import type { Target } from "./targets/target.ts";

export type { Target } from "./targets/target.ts";

/** All parsers. */
export const TARGETS: readonly Target[] = [
  ...knock1,
  ...web,
  ...fwknop,
  ...openme,
  ...openspa,
  ...network,
  ...texts,
  ...files,
];
