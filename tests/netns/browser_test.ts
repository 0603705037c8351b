/** The page in a real browser: from the link of `client add --web` to an open port. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import process from "node:process";
import { BrowserDriver, PAGE_URL } from "./browsing.ts";
import { CLIENTS, type Pair } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const HERE6 = CLIENTS[6].at(-1)!;

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services:
  ssh: tcp/22
defaults: { for: 10s, max_for: 1h }
`;

/** Chromium in CI; KNOCK_BROWSER=firefox is the other one. */
const BROWSER = process.env["KNOCK_BROWSER"] === "firefox"
  ? "firefox"
  : "chrome";

function browserTest(
  name: string,
  body: (
    browser: BrowserDriver,
    program: Program,
    pair: Pair,
  ) => Promise<void>,
): void {
  const needed = BROWSER === "chrome" ? "chromium" : "firefox-esr";
  programTest(`${BROWSER}: ${name}`, async (program, pair) => {
    program.configure(SETTINGS, [{ name: "laptop", policy: ["open: [ssh]"] }]);
    await pair.serve("tcp", 22);
    const browser = await BrowserDriver.start(pair, program, BROWSER);
    try {
      await body(browser, program, pair);
    } finally {
      await browser.end();
    }
  }, [needed]);
}

browserTest("the link opens, for this address, until it ends", async (
  browser,
  program,
  pair,
) => {
  const link = await browser.enrol("phone");
  await program.serve();
  assert(!await pair.canReach(HERE6, 22), "shut");
  await browser.open(link);
  assertEquals(await browser.evaluate("location.href"), PAGE_URL);
  await browser.click("#knock");
  const said = await browser.settled();
  assertMatch(said, /^Open for /);
  assert(await pair.canReach(HERE, 22), "open");
  assert(!await pair.canReach(NEIGHBOUR, 22), "shut for a neighbour");
  await pair.shuts(HERE, 22);
});
