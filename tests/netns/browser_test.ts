/**
 * The page in a real browser: from the link of `client add --web` to a port
 * that is open for that browser's address, and everything that may go wrong.
 * Chromium, or Firefox with KNOCK_BROWSER=firefox.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  oneTimeCode,
  parseCodeSecret,
} from "../../lib/dialects/crypto/codes.ts";
import { decode, photograph } from "../fakes/camera.ts";
import { BrowserDriver, BROWSERS, PAGE_URL } from "./browsing.ts";
import { CLIENTS, type Pair, scriptCommand, SERVER, until } from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
// The address given last is the one that is used.
const HERE6 = CLIENTS[6].at(-1)!;

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services:
  ssh: tcp/22
  web: tcp/8080
defaults: { for: 10s, max_for: 1h }
`;

const NAME = process.env["KNOCK_BROWSER"] === "firefox" ? "firefox" : "chrome";

/** The words of success; not every browser tells a page its address. */
const OPEN = /^Open for (10\.77\.0\.2|fd77::22|this device's IPv[46] address)/;

/** Properties of the keys that the page has stored. */
const STORED_KEYS = `new Promise((resolve) => {
  indexedDB.open("knock").onsuccess = ({ target: { result } }) =>
    result.transaction("profiles").objectStore("profiles").getAll().onsuccess =
      ({ target }) => resolve(target.result.map(({ key }) => ({
        extractable: key.extractable, type: key.type, usages: key.usages,
      })));
})`;

const CLOCK_IS_WRONG = `(() => {
  const now = Date.now;
  Date.now = () => now() + 3_600_000;
})()`;
const NO_X25519 =
  `crypto.subtle.generateKey = () => Promise.reject(new Error())`;
const NO_STORAGE = `IDBFactory.prototype.open = () => {
  throw new DOMException("no", "SecurityError");
}`;

/** As a browser that looked for its interfaces too early: it sends nothing. */
const SENDS_NOTHING =
  `RTCPeerConnection.prototype.setRemoteDescription = async () => {}`;
const FIRST_SENDS_NOTHING = `(() => {
  const { prototype } = RTCPeerConnection;
  const set = prototype.setRemoteDescription;
  prototype.setRemoteDescription = () => {
    prototype.setRemoteDescription = set;
    return Promise.resolve();
  };
})()`;
const COUNTS_CONNECTIONS = `globalThis.made = 0;
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      globalThis.made++;
    }
  }`;

/** Checks of ICE and requests of STUN at the server's port, as other pages send them. */
const STUN_OF_OTHERS = `(async () => {
  const stun = [{ urls: "stun:${SERVER[4]}:62201" }];
  const one = new RTCPeerConnection({ iceServers: stun });
  one.createDataChannel("other");
  await one.setLocalDescription();
  const lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0",
    "a=mid:0", "a=ice-ufrag:" + "a".repeat(248), "a=ice-pwd:" + "b".repeat(43),
    "a=fingerprint:sha-256 " + Array(32).fill("AB").join(":"),
    "a=setup:passive", "a=sctp-port:5000",
    "a=candidate:1 1 UDP 2130706431 ${SERVER[4]} 62201 typ host", ""];
  const sdp = lines.join("\\r\\n");
  await one.setRemoteDescription({ type: "answer", sdp });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const { iceConnectionState } = one;
  one.close();
  return iceConnectionState;
})()`;

function browserTest(
  name: string,
  body: (
    browser: BrowserDriver,
    program: Program,
    pair: Pair,
  ) => Promise<void>,
): void {
  programTest(`${NAME}: ${name}`, async (program, pair) => {
    program.configure(SETTINGS, [{ name: "laptop", policy: ["open: [ssh]"] }]);
    await pair.serve("tcp", 22);
    const browser = await BrowserDriver.start(pair, program, NAME);
    try {
      await body(browser, program, pair);
    } finally {
      await browser.end();
    }
  }, [BROWSERS[NAME], "zbarimg"]);
}

browserTest("the QR code's link opens, for this address, until it ends", async (
  browser,
  program,
  pair,
) => {
  const { link, stderr } = await browser.enrol("phone", ["--qr"]);
  const lines = stderr.split("\n").filter((line) => /^[ ▀▄█]*$/.test(line));
  assertEquals(decode(photograph(lines.join("\n"))), link);
  await program.serve();
  assert(!await pair.canReach(HERE, 22), "shut");

  await browser.open(link);
  assertEquals(await browser.settled(), "Stored.");
  assertEquals(await browser.evaluate("location.href"), PAGE_URL);
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);
  assertMatch(await browser.text("#left"), /^Until .*: (10|[1-9])s left\.$/);
  assert(await pair.canReach(HERE, 22), "open");
  assert(!await pair.canReach(NEIGHBOUR, 22), "shut for a neighbour");
  assert(!await pair.canReach(HERE6, 22), "shut for the other family");
  assertMatch(program.log, /info open phone 10\.77\.0\.2 tcp\/22,tcp\/8080 /);
  await pair.shuts(HERE, 22);
  await until(
    "the page says so",
    async () => (await browser.settled()).startsWith("Its time is over"),
  );
  assertEquals(await browser.text("#left"), "");
});

browserTest("a profile stays, also without its host; and goes", async (
  browser,
  program,
  pair,
) => {
  const { link } = await browser.enrol("phone");
  await program.serve();
  await browser.open(link);
  await browser.settled();
  // Twice the same is one profile.
  await browser.open(link);
  await browser.settled();
  assertEquals(await browser.profiles(), ["phone"]);
  assertEquals(
    await browser.evaluate(STORED_KEYS),
    [{ extractable: false, type: "private", usages: ["deriveBits"] }],
  );
  await browser.reload();
  await browser.shows("#name", "phone");
  assertEquals(await browser.text("#note"), "");

  await browser.evaluate("navigator.serviceWorker.ready.then(() => 1)");
  await browser.host(false);
  await browser.open(PAGE_URL);
  await browser.shows("#name", "phone");
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);
  assert(await pair.canReach(HERE, 22));
  await browser.host(true);

  await browser.click("summary");
  await browser.click("#forget");
  await until(
    "it is forgotten",
    async () => (await browser.settled()) === "Forgotten.",
  );
  assertEquals(await browser.profiles(), []);
  assertEquals(await browser.evaluate(STORED_KEYS), []);
});

browserTest("opens from a file, without any host", async (
  browser,
  program,
  pair,
) => {
  const { link } = await browser.enrol("phone");
  await program.serve();
  await browser.host(false);
  const page = pathToFileURL(join(program.folder, "host/index.html")).href;
  await browser.open(link.replace(PAGE_URL, page));
  assertEquals(await browser.settled(), "Stored.");
  assertEquals(await browser.evaluate("location.href"), page);
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);
  assert(await pair.canReach(HERE, 22));
  await browser.open(page);
  await browser.shows("#name", "phone");
});

browserTest("IPv6, both families, a code, an own key, a way on", async (
  browser,
  program,
  pair,
) => {
  pair.spawn(pair.server, scriptCommand("site.ts", "8080"));
  const six = await browser.enrol("six", [], `[${SERVER[6]}]`);
  const coded = await browser.enrol("coded", ["--code"]);
  const both = await browser.enrol("both", [], null);
  const way = `http://${SERVER[4]}:8080/after`;
  const led = await browser.enrol("led", ["--auto", "--then", way]);
  await program.serve();

  await browser.open(six.link);
  await browser.settled();
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);
  assert(await pair.canReach(HERE6, 22), "open over IPv6");
  assert(!await pair.canReach(HERE, 22), "and over IPv6 alone");

  await browser.open(both.link);
  await browser.settled();
  await browser.click("#knock");
  await until(
    "both are open",
    async () => / and /.test(await browser.settled()),
  );
  assert(await pair.canReach(HERE, 22), "open over IPv4, too");

  // A code is used up by a packet, not by a connection that sent none.
  await browser.open(coded.link, FIRST_SENDS_NOTHING);
  await browser.settled();
  await browser.click("#knock");
  assertMatch(await browser.settled(), /^Type the six digits/);
  const [, secret] = /secret=([A-Z2-7]+)/.exec(coded.stderr)!;
  const bytes = parseCodeSecret(secret!)!;
  const code = oneTimeCode(bytes, Date.now());
  await browser.type("#code", String(code).padStart(6, "0"));
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);

  // A key that is made in the page, and never leaves it.
  await browser.evaluate(`document.getElementById("more").open = true`);
  await browser.click("#make");
  await until(
    "it shows the line",
    async () => (await browser.text("#line")) !== "",
  );
  const line = await browser.text("#line");
  const [, key] = /^knock client add phone --key (\S{43}) --web http/.exec(
    line,
  )!;
  const own = await browser.enrol("own", ["--key", key!]);
  assert(!own.link.includes("&key="));
  await program.signal("SIGHUP");
  await program.logged("reload");
  await browser.type("#enrolment", own.link);
  await browser.press("Enter");
  await until(
    "it is stored",
    async () => (await browser.text("#name")) === "own",
  );
  await browser.click("#knock");
  assertMatch(await browser.settled(), OPEN);

  await pair.shuts(HERE, 8080);
  await browser.open(led.link);
  await until(
    "it is there",
    async () => (await browser.evaluate("location.href")) === way,
  );
  assertEquals(await browser.text("body"), "the site of /after");
});

browserTest("says what is wrong, and never that it is open", async (
  browser,
  program,
) => {
  const { link } = await browser.enrol("phone");
  const gone = await browser.enrol("gone");
  const late = await browser.enrol("late");
  const lost = await browser.enrol("lost", [], "nowhere.invalid");
  const file = readFileSync(program.config, "utf8");
  program.write(
    "server.yaml",
    file.replace(/^( +)late:\n/m, "$&$1  expires: 2020-01-01T00:00:00Z\n")
      .replace(/^ +gone:\n(?: {4,}.*\n)+/m, ""),
  );
  await program.serve();
  const knock = async (url: string, before?: string) => {
    await browser.open(url, before);
    const said = await browser.settled();
    if (said !== "Stored.") return said;
    await browser.click("#knock");
    return await browser.settled();
  };

  assertMatch(await knock(PAGE_URL + "#knock://x"), /^The link is incomplete/);
  assertMatch(await knock(PAGE_URL + "#top"), /^This is not an enrolment/);
  await browser.open(PAGE_URL);
  await until(
    "it offers to enrol",
    () => browser.evaluate<boolean>(`document.getElementById("more").open`),
  );
  assertEquals(await browser.text("#status"), "");

  const from = program.log.length;
  assertMatch(
    await knock(late.link, COUNTS_CONNECTIONS),
    NAME === "chrome" ? /^The server refused this knock/ : /^No answer/,
  );
  const told = program.log.slice(from).match(/refused late/g)?.length ?? 0;
  const made = await browser.evaluate<number>("globalThis.made");
  assert(told > 0 && told <= made, `${told} events, ${made} knocks`);
  assertMatch(await knock(gone.link), /^No answer.*clock.*UDP/);
  assertMatch(await knock(link, CLOCK_IS_WRONG), /^No answer.*clock/);
  assertMatch(await knock(link, SENDS_NOTHING), /^This browser sent no packet/);
  assertMatch(await knock(lost.link), /^The address of nowhere.invalid is not/);

  assertMatch(
    await knock(PAGE_URL, "delete window.RTCPeerConnection"),
    /WebRTC/,
  );
  assertMatch(await knock(PAGE_URL, NO_X25519), /X25519/);
  assertMatch(await knock(PAGE_URL, NO_STORAGE), /storage/);
  assertMatch(
    await knock(PAGE_URL, "delete window.RTCPeerConnection"),
    /WebRTC/,
  );
  const before = program.log;
  await browser.open(PAGE_URL);
  assertEquals(await browser.evaluate(STUN_OF_OTHERS), "checking");
  assertEquals(program.log, before, "of no interest, whoever sends it");
  assertMatch(await knock(link), OPEN);
  await program.signal("SIGTERM");
  assertMatch(await knock(link), /^No answer/);
});
