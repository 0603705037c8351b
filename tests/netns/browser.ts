/**
 * A real browser inside a namespace, headless, with a static host of its own on
 * localhost: JSON orders on standard input, one answer a line on standard
 * output. Run with "chrome" or "firefox", its program, and the folder to serve.
 */

import { createServer, type Server } from "node:http";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import puppeteer, { type Page } from "puppeteer-core";

/** Longest time of an order, milliseconds. */
const ORDER_MS = 20_000;

/** Port of the static host. */
export const HOST_PORT = 8000;

/** Orders to the program; the page is the one that was opened last. */
export type BrowserOrder =
  /** Opens a page in a tab of its own, after a script has run in it, and closes the tab before. */
  | { do: "open"; url: string; before?: string }
  /** Evaluates an expression, or a promise, in the page: its value as JSON. */
  | { do: "evaluate"; expression: string }
  | { do: "click"; selector: string }
  | { do: "type"; selector: string; text: string }
  | { do: "press"; key: string }
  | { do: "reload" }
  | { do: "shot"; path: string; width: number; height: number; dark: boolean }
  /** Starts or ends the static host. */
  | { do: "host"; on: boolean }
  | { do: "end" };

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

const [name, program, folder] = process.argv.slice(2) as [
  "chrome" | "firefox",
  string,
  string,
];

function serve(): Promise<Server> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const path = join(folder, pathname.replace(/\/$/, "/index.html"));
    if (!existsSync(path)) return void response.writeHead(404).end();
    const type = TYPES[extname(path)] ?? "text/plain";
    response.writeHead(200, { "content-type": type }).end(readFileSync(path));
  });
  return new Promise((resolve) =>
    server.listen(HOST_PORT, "127.0.0.1", () => resolve(server))
  );
}

async function main(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "knock-browser-"));
  let host: Server | null = await serve();
  const browser = await puppeteer.launch({
    browser: name,
    executablePath: `/usr/bin/${program}`,
    headless: true,
    protocolTimeout: ORDER_MS,
    userDataDir: home,
    env: { ...process.env, HOME: home },
    args: name === "chrome" ? ["--no-sandbox", "--disable-gpu"] : [],
  });
  let page: Page = (await browser.pages())[0] ?? await browser.newPage();

  async function follow(order: BrowserOrder): Promise<unknown> {
    switch (order.do) {
      case "open": {
        const old = page;
        page = await browser.newPage();
        await old.close();
        page.on("dialog", (dialog) => void dialog.accept());
        if (order.before) await page.evaluateOnNewDocument(order.before);
        await page.goto(order.url);
        return null;
      }
      case "evaluate":
        for (;;) {
          try {
            return await page.evaluate(order.expression);
          } catch (error) {
            // The page went on to another meanwhile: that one is meant.
            if (!/context was destroyed/.test(String(error))) throw error;
          }
        }
      case "click":
        return await page.click(order.selector);
      case "type":
        return await page.type(order.selector, order.text);
      case "press":
        return await page.keyboard.press(order.key as "Tab");
      case "reload":
        return void await page.reload();
      case "shot": {
        const { path, width, height, dark } = order;
        await page.setViewport({ width, height });
        await page.emulateMediaFeatures([
          { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
        ]);
        return void await page.screenshot({ path: path as `${string}.png` });
      }
      case "host":
        if (order.on) host ??= await serve();
        else {
          host?.closeAllConnections();
          await new Promise<void>((resolve) => host!.close(() => resolve()));
          host = null;
        }
        return null;
      case "end":
        await browser.close();
        rmSync(home, { recursive: true, force: true });
        return null;
    }
  }

  const say = (answer: object) =>
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, ...order } = JSON.parse(line) as BrowserOrder & { id: number };
    try {
      say({ id, value: await follow(order) ?? null });
    } catch (error) {
      say({ id, error: String(error) });
    }
    if (order.do === "end") break;
  }
  process.exit(0);
}

if (import.meta.main) await main();
