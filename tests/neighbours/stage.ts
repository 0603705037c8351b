/** A host with other people's firewalls and forwards, guarded by knock, and a neighbour who tries all the time. */

import { assert, assertEquals } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { CLIENTS, type Pair, scriptCommand, SERVER } from "../netns/netns.ts";
import type { Program } from "../netns/program.ts";

export const [HERE, NEIGHBOUR] = CLIENTS[4];

/** A neighbour's attempts at a port, for as long as they go on. */
export class Watch {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })
      [Symbol.asyncIterator]();
  }

  /** Starts to try the port of the server, from the neighbour's address. */
  static async start(pair: Pair, port: number): Promise<Watch> {
    const script = fileURLToPath(new URL("watch.ts", import.meta.url));
    const argv = scriptCommand(script, NEIGHBOUR, SERVER[4], `${port}`);
    const watch = new Watch(pair.spawn(pair.client, argv));
    assertEquals((await watch.#lines.next()).value, "ready");
    return watch;
  }

  /** Ends, and throws if one attempt was accepted. */
  async neverOpen(): Promise<void> {
    this.#child.stdin!.end();
    const { value } = await this.#lines.next();
    const { attempts, open } = JSON.parse(value!);
    assert(attempts > 50, `${attempts} attempts`);
    assertEquals(open, [], `open at ${open.length} of ${attempts} attempts`);
  }
}

/** Knocks for a port, until it is open; the neighbour's stays shut. */
export async function opensByKnock(
  program: Program,
  pair: Pair,
  port: number,
): Promise<void> {
  assert(!await pair.canReach(HERE, port), "closed before the knock");
  const said = await program.client(["alice", "--from", HERE]);
  assertEquals(said.code, 0, said.stderr + program.log);
  await staysOpen(pair, port);
}

/** Waits until a port is open for who has knocked; the neighbour's is shut. */
export async function staysOpen(pair: Pair, port: number): Promise<void> {
  await pair.opens(HERE, port);
  assert(!await pair.canReach(NEIGHBOUR, port), "shut for the neighbour");
}

/** Closes a port again. */
export async function closes(
  program: Program,
  pair: Pair,
  port: number,
): Promise<void> {
  const said = await program.client(["close", "alice", "--from", HERE]);
  assertEquals(said.code, 0, said.stderr);
  await pair.shuts(HERE, port);
}
