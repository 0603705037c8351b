/** The steps, in their order. */

import type { Step } from "./step.ts";
import { browser } from "./steps/browser.ts";
import { clients } from "./steps/clients.ts";
import { connections } from "./steps/connections.ts";
import { dialectJunk } from "./steps/dialect_junk.ts";
import { fleet } from "./steps/fleet.ts";
import { flood, peerFlood, sequenceFlood, ungated } from "./steps/flood.ts";
import { flush } from "./steps/flush.ts";
import { forged, forgedPeers } from "./steps/forged.ts";
import { growth } from "./steps/growth.ts";
import { judging } from "./steps/judging.ts";
import { oneshot } from "./steps/oneshot.ts";
import { open } from "./steps/open.ts";
import { fwknopd, knockd, openme, openspa } from "./steps/peers.ts";
import { prefilter } from "./steps/prefilter.ts";
import { sequence } from "./steps/sequence.ts";

export const STEPS: readonly Step[] = [
  open,
  browser,
  sequence,
  fwknopd,
  knockd,
  openme,
  openspa,
  judging,
  oneshot,
  growth,
  flood,
  ungated,
  prefilter,
  dialectJunk,
  forged,
  forgedPeers,
  peerFlood,
  sequenceFlood,
  connections,
  flush,
  fleet,
  clients,
];
