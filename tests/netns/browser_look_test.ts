/**
 * The page as people see and use it, in the real Chromium: it fits a phone and
 * a desk, its words can be read in light and dark, and a keyboard is enough.
 * Screenshots go into the folder that KNOCK_SHOTS names.
 */

import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import process from "node:process";
import { until } from "./netns.ts";
import { BrowserDriver, BROWSERS, PAGE_URL } from "./browsing.ts";
import { programTest } from "./program.ts";

const SIZES = [[360, 640], [1280, 800]] as const;
const SHOTS = process.env["KNOCK_SHOTS"];

/**
 * Mistakes in what is seen now, a line each: WCAG 2.2, 1.4.3 (contrast
 * 4.5), 1.4.11 (edges of controls, 3), 1.4.10 (no scrolling sideways), 2.5.8 (targets of 24 pixels; the big
 * button has 48), 4.1.2 (each control has a name), 3.1.1 (a language).
 */
const WRONG = `(() => {
  const wrong = [];
  const shown = [...document.querySelectorAll("body *")]
    .filter((one) => one.checkVisibility() && one.tagName !== "SCRIPT");
  const describe = (one) => one.id ? "#" + one.id : one.tagName.toLowerCase();
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = rgb(color).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
    });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const paper = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if ((rgb(color)[3] ?? 1) === 1) return color;
    }
    return "rgb(255, 255, 255)";
  };
  for (const one of shown) {
    const box = one.getBoundingClientRect();
    if (box.left < 0 || Math.floor(box.right) > innerWidth) {
      wrong.push(describe(one) + " leaves the screen");
    }
    const hasText = [...one.childNodes]
      .some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (hasText) {
      const pair = [light(getComputedStyle(one).color), light(paper(one))];
      const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
      if (ratio < 4.5) wrong.push(describe(one) + " has a contrast of " + ratio);
    }
    if (one.matches("button, input, select")) {
      const edge = light(getComputedStyle(one).borderTopColor);
      const around = light(paper(one.parentElement));
      const ratio = (Math.max(edge, around) + .05) / (Math.min(edge, around) + .05);
      if (ratio < 3) wrong.push(describe(one) + " has an edge of " + ratio);
    }
    if (!one.matches("button, input, select, summary, a")) continue;
    const least = one.matches(".big") ? 48 : 24;
    if (box.width < least || box.height < least) {
      wrong.push(describe(one) + " is " + box.width + " by " + box.height);
    }
    const name = one.textContent.trim() || one.labels?.[0]?.textContent;
    if (!name) wrong.push(describe(one) + " has no name");
  }
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title) wrong.push("no title");
  if (document.documentElement.scrollWidth > innerWidth) {
    wrong.push("scrolls sideways");
  }
  return wrong;
})()`;

/** The element with the focus, and whether it shows it. */
const FOCUS = `(() => {
  const { activeElement: one } = document;
  const { outlineStyle } = getComputedStyle(one);
  const name = one.id || one.tagName.toLowerCase();
  return outlineStyle === "none" ? name + " shows no focus" : name;
})()`;

programTest(
  "chrome: the page fits, can be read, and needs no mouse",
  async (program, pair) => {
    program.configure(
      `
listen: [62201]
firewall: { backend: nft }
services: { ssh: tcp/22 }
defaults: { for: 1h, max_for: 1h }
`,
      [{ name: "laptop", policy: ["open: [ssh]"] }],
    );
    const browser = await BrowserDriver.start(pair, program, "chrome");
    const look = async (state: string) => {
      const found: string[] = [];
      for (const dark of [false, true]) {
        for (const [width, height] of SIZES) {
          const kind = `${state}-${width}-${dark ? "dark" : "light"}`;
          const path = join(SHOTS ?? program.folder, `${kind}.png`);
          await browser.order({ do: "shot", path, width, height, dark });
          const wrong = await browser.evaluate<string[]>(WRONG);
          found.push(...wrong.map((one) => `${kind}: ${one}`));
        }
      }
      assertEquals(found, []);
    };
    const tab = async () => {
      await browser.press("Tab");
      return await browser.evaluate(FOCUS);
    };
    try {
      const way = ["--then", "https://nas.example.org/"];
      const phone = await browser.enrol("phone", way);
      const other = await browser.enrol("a-name-of-some-length", ["--code"]);
      await program.serve();

      await browser.open(PAGE_URL);
      await until(
        "it offers to enrol",
        () =>
          browser.evaluate<boolean>(`document.querySelector("details").open`),
      );
      await look("empty");
      // Everything can be reached, in the order of the page.
      assertEquals(await tab(), "summary");
      assertEquals(await tab(), "enrolment");
      await browser.type("#enrolment", other.link);
      await browser.press("Enter");
      await browser.shows("#status", "Stored.");
      await look("code");
      await browser.open(phone.link);
      await browser.shows("#status", "Stored.");
      await look("stored");

      assertEquals(await tab(), "profile");
      assertEquals(await tab(), "knock");
      await browser.press("Enter");
      assertMatch(await browser.settled(), /^Open for /);
      await look("open");
      assertEquals(await tab(), "a");
      assertEquals(await tab(), "summary");
      await browser.press("Enter");
      assertEquals(await tab(), "enrolment");
      assertEquals(await tab(), "button");
      assertEquals(await tab(), "make");
      await browser.press("Enter");
      await until(
        "it shows the line to type",
        async () => (await browser.text("#line")).startsWith("knock client"),
      );
      await look("make");
      assertEquals(await tab(), "line");
      assertEquals(await tab(), "forget");

      await program.signal("SIGTERM");
      await browser.click("#knock");
      assertMatch(await browser.settled(), /^No answer/);
      await look("silent");
    } finally {
      await browser.end();
    }
  },
  [BROWSERS.chrome],
);
