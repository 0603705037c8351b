/** A browser in the client's namespace, as tests drive it. */

import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BrowserOrder } from "./browser.ts";
import { type Pair, SERVER, type Talker, until } from "./netns.ts";
import type { Program } from "./program.ts";

/** The program of each browser. */
export const BROWSERS = {
  chrome: existsSync("/usr/bin/chromium") ? "chromium" : "google-chrome",
  firefox: "firefox-esr",
} as const;

/** Far more than three knocks take. */
const SETTLE_MS = 30_000;

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
    // Firefox knocks from the address of its default route, and from no other.
    for (const [family, via] of [["-4", SERVER[4]], ["-6", SERVER[6]]]) {
      const route = ["route", "add", "default", "via", via!];
      await pair.exec(pair.client, ["ip", family!, ...route]);
    }
    const folder = join(program.folder, "host");
    mkdirSync(folder);
    const page = join(folder, "index.html");
    const said = await program.client(["page", "--out", page]);
    if (said.code !== 0) throw new Error(said.stderr);
    const talker = pair.script(
      pair.client,
      "browser.ts",
      browser,
      BROWSERS[browser],
      folder,
    );
    const driver = new BrowserDriver(talker, program);
    await driver.order({ do: "evaluate", expression: "1" });
    return driver;
  }

  /**
   * Enrols a client by `client add --web`: its link, and what is said beside
   * it. Without a server's address, the program finds its own.
   */
  async enrol(
    name: string,
    args: readonly string[] = [],
    server: string | null = SERVER[4],
  ): Promise<{ link: string; stderr: string }> {
    const said = await this.#program.admin(
      ...["client", "add", name, "--web", PAGE_URL, ...args],
      ...server === null ? [] : ["--server", server],
    );
    if (said.code !== 0) throw new Error(said.stderr);
    return { link: said.stdout.trim(), stderr: said.stderr };
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

  /** The text of an element. */
  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector("${selector}").textContent`);
  }

  async click(selector: string): Promise<void> {
    await this.order({ do: "click", selector });
  }

  /** The words of the page, once it has something to say. */
  async settled(): Promise<string> {
    let said = { state: "", text: "" };
    await until("the page says something", async () => {
      said = await this.evaluate<typeof said>(`(() => {
        const { dataset, textContent } = document.getElementById("status");
        return { state: dataset.state ?? "", text: textContent };
      })()`);
      return said.text !== "" && said.state !== "busy";
    }, SETTLE_MS);
    return said.text;
  }

  /** Resolves when an element has a text. */
  shows(selector: string, text: string): Promise<void> {
    return until(
      `${selector} shows ${text}`,
      async () => await this.text(selector) === text,
      SETTLE_MS,
    );
  }

  async type(selector: string, text: string): Promise<void> {
    await this.order({ do: "type", selector, text });
  }

  async press(key: string): Promise<void> {
    await this.order({ do: "press", key });
  }

  async reload(): Promise<void> {
    await this.order({ do: "reload" });
  }

  /** Starts or ends the page's host. */
  async host(on: boolean): Promise<void> {
    await this.order({ do: "host", on });
  }

  /** Names of the profiles that the page offers. */
  profiles(): Promise<string[]> {
    return this.evaluate<string[]>(
      `[...document.querySelectorAll("option")].map((one) => one.value)`,
    );
  }

  async end(): Promise<void> {
    await this.order({ do: "end" }).catch(() => undefined);
  }
}
