/** A browser in the client's namespace, as tests drive it. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BrowserOrder } from "./browser.ts";
import { type Pair, pass, SERVER, type Talker } from "./netns.ts";
import type { Program } from "./program.ts";

/** Where the page is, for the browser. */
export const PAGE_URL = "http://localhost:8000/";

export class BrowserDriver {
  readonly #talker: Talker;
  readonly #program: Program;

  private constructor(talker: Talker, program: Program) {
    this.#talker = talker;
    this.#program = program;
  }

  /** Writes the page by `knock page`, and starts a browser beside its host. */
  static async start(
    pair: Pair,
    program: Program,
    browser: "chrome" | "firefox",
  ): Promise<BrowserDriver> {
    const folder = join(program.folder, "host");
    mkdirSync(folder);
    const page = join(folder, "index.html");
    const said = await program.client(["page", "--out", page]);
    if (said.code !== 0) throw new Error(said.stderr);
    const talker = pair.script(pair.client, "browser.ts", browser, folder);
    const driver = new BrowserDriver(talker, program);
    await driver.order({ do: "evaluate", expression: "1" });
    return driver;
  }

  /** Enrols a client by `client add --web`; its link. */
  async enrol(name: string, ...args: string[]): Promise<string> {
    const server = args.includes("--server") ? [] : ["--server", SERVER[4]];
    const said = await this.#program.admin(
      ...["client", "add", name, "--web", PAGE_URL, ...server, ...args],
    );
    if (said.code !== 0) throw new Error(said.stderr);
    return said.stdout.trim();
  }

  async order(order: BrowserOrder): Promise<unknown> {
    const answer = await this.#talker.ask<{ value: unknown; error?: string }>(
      order,
    );
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }

  async open(url: string, before?: string): Promise<void> {
    const more = before === undefined ? {} : { before };
    await this.order({ do: "open", url, ...more });
  }

  async evaluate<T = string>(expression: string): Promise<T> {
    return await this.order({ do: "evaluate", expression }) as T;
  }

  async click(selector: string): Promise<void> {
    await this.order({ do: "click", selector });
  }

  /** The words of the page, once it has something to say. */
  async settled(): Promise<string> {
    for (;;) {
      const { state, text } = await this.evaluate<
        { state: string; text: string }
      >(`(() => {
        const { dataset, textContent } = document.getElementById("status");
        return { state: dataset.state ?? "", text: textContent };
      })()`);
      if (text !== "" && state !== "busy") return text;
      await pass(50);
    }
  }

  async end(): Promise<void> {
    await this.order({ do: "end" }).catch(() => undefined);
  }
}
