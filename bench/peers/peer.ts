/** A real server of another project on a stage. */

import type { Trigger } from "../prober/orders.ts";
import { type Stage, until } from "../stage.ts";

/** A running server, behind iptables. */
export interface Peer {
  readonly pid: number;
  /** A packet of this moment that opens the service for an address. */
  knock(address: string): Trigger;
}

/**
 * Starts a server in the server's namespace; its process id, when it has said
 * that it is ready. It ends with the stage. Throws what it said when it ends
 * first.
 */
export async function spawnPeer(
  stage: Stage,
  argv: readonly string[],
  ready: string,
): Promise<number> {
  const child = stage.pair.spawn(stage.pair.server, argv, "pipe");
  let said = "";
  child.stdout!.on("data", (text) => said += text);
  child.stderr!.on("data", (text) => said += text);
  const ended = () => child.exitCode !== null;
  await until(() => said.includes(ready) || ended(), `${argv[0]} is not ready`);
  if (ended()) throw new Error(`${argv[0]} ended: ${said}`);
  return child.pid!;
}
