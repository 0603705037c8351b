/** A firewall's backend inside a pair's server, driven step by step. */

import type { Answer, GivenGrant, GivenService, Step } from "./drive.ts";
import type { Pair, Talker } from "./netns.ts";

/** More grants than a backend may look at one by one, each for an address of its own. */
export const MANY = Array.from({ length: 20_000 }, (_, i): GivenGrant => [
  `192.${i >> 16}.${i >> 8 & 255}.${i & 255}`,
  "tcp/22",
  600,
]);

/** One of them, by its script: drive_nft.ts or drive_iptables.ts. */
class Driver {
  readonly #talker: Talker;

  constructor(pair: Pair, script: string, args: readonly string[]) {
    this.#talker = pair.script(pair.server, script, ...args);
  }

  tryTo(step: Step): Promise<Answer> {
    return this.#talker.ask<Answer>(step);
  }

  async take(step: Step): Promise<unknown> {
    const answer = await this.tryTo(step);
    if (!answer.ok) throw new Error(answer.error);
    return answer.value;
  }

  apply(services: GivenService[], grants: GivenGrant[] = []) {
    return this.take({ do: "apply", services, grants });
  }

  open(grants: GivenGrant[], all = grants) {
    return this.take({ do: "open", grants, all });
  }

  close(grants: GivenGrant[], all: GivenGrant[] = []) {
    return this.take({ do: "close", grants, all });
  }

  intact() {
    return this.take({ do: "intact" });
  }

  /** Median time of opening for one address again and again, milliseconds. */
  async openingMs(address: string): Promise<number> {
    const times: number[] = [];
    for (let round = 0; round < 51; round++) {
      const grants: GivenGrant[] = [[address, "tcp/22", 60 + round]];
      const { ok, ms, error } = await this.tryTo({ do: "open", grants });
      if (!ok) throw new Error(error);
      times.push(ms);
    }
    return times.sort((a, b) => a - b)[25]!;
  }

  /** Ends it with SIGKILL. */
  async kill(): Promise<void> {
    const { child } = this.#talker;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
}

export class NftDriver extends Driver {
  constructor(pair: Pair, ...args: string[]) {
    super(pair, "drive_nft.ts", args);
  }
}

export class IptablesDriver extends Driver {
  constructor(pair: Pair, ...args: string[]) {
    super(pair, "drive_iptables.ts", args);
  }
}
