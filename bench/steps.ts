/** The steps, in their order. */

import type { Step } from "./step.ts";
import { open } from "./steps/open.ts";
import { fwknopd, knockd } from "./steps/peers.ts";

export const STEPS: readonly Step[] = [open, fwknopd, knockd];
