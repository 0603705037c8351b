/**
 * Three gateways that race for the same keys in an engine, while it loses
 * servers: the name of the engine and its servers are the arguments. Races
 * until a line comes, then claims all keys once more, and prints as JSON what
 * came of them.
 */

import process from "node:process";
import type { Claim, EngineName, FleetConfig } from "../../lib/fleet/fleet.ts";
import { openEngine } from "../../lib/fleet/shared.ts";
import { runtime } from "../fakes/runtime.ts";

const GATEWAYS = ["gw1", "gw2", "gw3"] as const;
const HOUR_MS = 3_600_000;
/** Time between two keys, and tries of a gateway at one that is unknown. */
const PAUSE_MS = 50;
const TRIES = 3;

/** Counts of keys. */
export interface Raced {
  /** Keys that were raced for. */
  readonly keys: number;
  /** Keys that two gateways, or more, were told to have. */
  readonly twice: number;
  /** Keys that one was told to have, and which are another's or nobody's afterwards. */
  readonly lost: number;
  /** Keys that nobody was told to have, after all tries. */
  readonly unknown: number;
  /** Claims that were answered with unknown. */
  readonly unknownClaims: number;
}

const [engineName, ...servers] = process.argv.slice(2);
const config: FleetConfig = {
  ...{ engine: engineName as EngineName, servers, name: "racer" },
  ...{ prefix: "knock/test", secret: new Uint8Array(32) },
  ...{ tls: { ca: null, cert: null, key: null }, user: null, token: null },
  ...{ credentials: null, without: "refuse", staleMs: 3_600_000 },
};
const engines = await Promise.all(
  GATEWAYS.map(() => openEngine(runtime, config)),
);
let isOver = false;
process.stdin.once("data", () => isOver = true);

let unknownClaims = 0;
/** The gateways that were told to have a key, each by the value that it claimed with. */
const owners = new Map<string, string[]>();
const racing: Promise<void>[] = [];

/** As the tries of a client: each is another packet in truth, here the same key. */
async function race(key: string, gateway: number): Promise<void> {
  for (let tries = 0; tries < TRIES; tries++) {
    const value = `${GATEWAYS[gateway]} ${key} ${tries}`;
    const claim: Claim = await engines[gateway]!.claim(key, value, HOUR_MS);
    if (claim.state === "ours") owners.get(key)!.push(value);
    if (claim.state !== "unknown") return;
    unknownClaims++;
  }
}

for (let n = 0; !isOver; n++) {
  const key = `accepted/race-${n}`;
  owners.set(key, []);
  for (const gateway of GATEWAYS.keys()) racing.push(race(key, gateway));
  await runtime.sleep(PAUSE_MS);
}
await Promise.all(racing);

let lost = 0;
for (const [key, values] of owners) {
  let claim: Claim;
  do claim = await engines[0]!.claim(key, "afterwards", HOUR_MS); while (
    claim.state === "unknown"
  );
  if (values.length === 0) continue;
  if (claim.state === "ours" || !values.includes(claim.holder)) lost++;
}
const all = [...owners.values()];
const raced: Raced = {
  keys: all.length,
  twice: all.filter(({ length }) => length > 1).length,
  lost,
  unknown: all.filter(({ length }) => length === 0).length,
  unknownClaims,
};
process.stdout.write(`${JSON.stringify(raced)}\n`);
for (const engine of engines) await engine.close();
process.exit(0);
