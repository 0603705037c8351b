/** The page of numbers in a real Chromium: its text, and its picture in light and dark. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import { BROWSERS } from "./browsing.ts";
import { programTest } from "./program.ts";

const URL = "http://127.0.0.1:9162/";

/** Chromium's switch for pages that ask which colours are preferred. */
const DARK = "--blink-settings=preferredColorScheme=0";

/** Size of a PNG, and its first pixel, which no filter changes. */
function readPng(path: string) {
  const bytes = readFileSync(path);
  const data: Uint8Array[] = [];
  for (let at = 8; at < bytes.length;) {
    const size = bytes.readUInt32BE(at);
    if (bytes.toString("latin1", at + 4, at + 8) === "IDAT") {
      data.push(bytes.subarray(at + 8, at + 8 + size));
    }
    at += 12 + size;
  }
  const pixels = inflateSync(Buffer.concat(data));
  return {
    width: bytes.readUInt32BE(16),
    corner: pixels.subarray(1, 4).toString("hex"),
    colours: new Set(pixels).size,
  };
}

programTest(
  "the page of numbers shows grants, counters and events, in light and dark",
  async (program, pair) => {
    program.configure(
      'services: { ssh: tcp/22 }\nmetrics: "127.0.0.1:9162"',
      [{ name: "alice", policy: ["open: [ssh]", "max_for: 2h"] }],
    );
    await pair.serve("tcp", 22);
    await program.serve();
    await program.enrol("alice");
    assertEquals((await program.client(["alice", "--for", "9h"])).code, 0);
    await program.client(["alice", "--open", "tcp/23"]);
    const browse = (...args: string[]) =>
      pair.onServer([
        BROWSERS.chrome,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--window-size=900,700",
        `--user-data-dir=${join(program.folder, "chromium")}`,
        ...args,
        URL,
      ]);
    const page = await browse("--dump-dom");
    for (
      const text of [
        "running since ",
        "<td>alice</td><td>10.77.0.2</td>",
        '<td>tcp/22</td><td class="mark">capped</td>',
        '<td class="refused">refused: ports</td><td>ports that the client may not open</td>',
        '<td class="open">open</td>',
      ]
    ) assertStringIncludes(page, text);

    const [light, dark] = [[], [DARK]].map((args) => ({
      args,
      path: join(program.folder, `page${args.length}.png`),
    }));
    for (const { args, path } of [light!, dark!]) {
      await browse(...args, `--screenshot=${path}`);
    }
    const seen = readPng(light!.path);
    assertEquals([seen.width, seen.corner], [900, "ffffff"]);
    assertEquals(readPng(dark!.path).corner, "15171a");
    assert(seen.colours > 16, "there is text on it");
  },
  [BROWSERS.chrome],
);
