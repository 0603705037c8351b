/** The nft backend inside a pair's server, driven step by step. */

import type { Answer, GivenGrant, GivenService, Step } from "./drive_nft.ts";
import type { Pair, Talker } from "./netns.ts";

export class Driver {
  readonly #talker: Talker;

  constructor(pair: Pair, ...args: string[]) {
    this.#talker = pair.script(pair.server, "drive_nft.ts", ...args);
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
}
