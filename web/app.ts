/// <reference lib="dom" />
/** The page: its states in plain words, and what a user touches. */

import type { Outcome } from "./ice.ts";
import { offerAsApp } from "./install.ts";
import { addressesOf, knockAt } from "./knocking.ts";
import {
  type Enrolment,
  formatLeft,
  readCode,
  readEnrolment,
} from "./profile.ts";
import { generateKeys, importKey, toBase64url } from "./seal.ts";
import {
  forgetProfile,
  keepOwnPair,
  listProfiles,
  ownPair,
  type Profile,
  putProfile,
} from "./store.ts";

/** Longest wait of a redirection for the knock of the other family, milliseconds. */
const OTHER_FAMILY_MS = 700;

const SILENT =
  "No answer. Possible causes: this device's clock is wrong, the " +
  "server's address changed, this network blocks UDP, or this device was " +
  "removed from the server.";
const UNSENT =
  "This browser sent no packet: it has no network to the server, or a " +
  "setting or an extension keeps WebRTC from it.";
const REMEMBERED =
  "This browser's history may keep the link, and with it the key: remove its " +
  "entry there.";
const REFUSED =
  "The server refused this knock: outside its hours, expired, or not allowed.";

function element<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** Makes an element with a text; the page writes no markup. */
function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text: string,
  more: Partial<HTMLElementTagNameMap[K]> = {},
): HTMLElementTagNameMap[K] {
  return Object.assign(document.createElement(tag), {
    textContent: text,
    ...more,
  });
}

function say(text: string, state: "" | "busy" | "open" | "bad" = ""): void {
  const status = element("status");
  status.textContent = text;
  status.dataset["state"] = state;
}

let current: Profile | null = null;
let running = false;
let ticker: ReturnType<typeof setInterval> | undefined;
let leaving: ReturnType<typeof setTimeout> | undefined;

/** Takes away all that was said of an earlier knock. */
function clear(): void {
  clearInterval(ticker);
  element("left").textContent = "";
  element("then").replaceChildren();
  say("");
}

/** Finds what this browser lacks, in words; null: nothing. */
async function whatIsMissing(): Promise<string | null> {
  if (globalThis.top !== globalThis.self) {
    return "This page works by itself alone, not inside another page.";
  }
  if (!globalThis.isSecureContext) {
    return "Open this page over https, or from a file: keys need it.";
  }
  if (typeof RTCPeerConnection === "undefined") {
    return "WebRTC is switched off in this browser. Switch it on, or use " +
      "another browser.";
  }
  try {
    await generateKeys();
  } catch {
    return "This browser is too old: it has no X25519. Update it.";
  }
  try {
    await listProfiles();
  } catch {
    return "This browser blocks storage, as in private mode. Open the page " +
      "in a normal window.";
  }
  return null;
}

/** Takes what is behind the "#" out of the address bar and the history. */
function takeFragment(): string {
  const fragment = location.hash.slice(1);
  if (fragment !== "") {
    history.replaceState(null, "", location.pathname + location.search);
  }
  return fragment;
}

/** Stores an enrolment; returns the mistake in words, or null. */
async function enrol(text: string): Promise<string | null> {
  const read = readEnrolment(text);
  if (!read.ok) return read.why;
  const { enrolment } = read;
  const { name, server } = enrolment;
  const old = (await listProfiles()).find((one) => one.name === name);
  const isOther = old && toBase64url(old.server) !== toBase64url(server);
  const ask = `There is a profile ${name} of another server. Replace it?`;
  if (isOther && !confirm(ask)) return "Nothing was stored.";
  const waiting = enrolment.key ? undefined : await ownPair();
  if (!enrolment.key && !waiting) {
    return "This enrolment has no key. Make a key on this page first, and give " +
      "the server the line that it shows.";
  }
  const pair = enrolment.key
    ? await importKey(enrolment.key)
    : { privateKey: waiting!.key, publicKey: waiting!.publicKey };
  await putProfile(profileOf(enrolment, pair));
  if (!enrolment.key) await keepOwnPair(null);
  element("own").hidden = true;
  element<HTMLDetailsElement>("more").open = false;
  await showProfiles(name);
  return null;
}

function profileOf(
  enrolment: Enrolment,
  { privateKey, publicKey }: Awaited<ReturnType<typeof importKey>>,
): Profile {
  const { key: _key, ...rest } = enrolment;
  return { ...rest, key: privateKey, publicKey, openedMs: 0 };
}

async function showProfiles(name?: string): Promise<void> {
  clear();
  const profiles = (await listProfiles())
    .sort((one, other) => other.openedMs - one.openedMs);
  current = profiles.find((one) => one.name === name) ?? profiles[0] ?? null;
  const select = element<HTMLSelectElement>("profile");
  select.replaceChildren(
    ...profiles.map((one) =>
      make("option", one.name, {
        value: one.name,
        selected: one === current,
      })
    ),
  );
  element("choice").hidden = profiles.length < 2;
  element("enrolled").hidden = !current;
  element("forgetting").hidden = !current;
  element("name").textContent = current?.name ?? "";
  element("code-field").hidden = !current?.code;
  if (!current) element<HTMLDetailsElement>("more").open = true;
}

async function knock(): Promise<void> {
  if (!current || running) return;
  const profile = current;
  const code = profile.code
    ? readCode(element<HTMLInputElement>("code").value)
    : null;
  if (profile.code && code === null) {
    return say("Type the six digits that your authenticator app shows.", "bad");
  }
  setRunning(true);
  clear();
  say("Knocking…", "busy");
  try {
    const addresses = await addressesOf(profile);
    if (addresses.length === 0) {
      return say(
        `The address of ${profile.host} is not known here. Enrol again: the ` +
          "new link carries it.",
        "bad",
      );
    }
    const told: Told[] = [];
    await knockAt(profile, addresses, code, (outcome, address) => {
      told.push([outcome, address]);
      if (outcome.state !== "open") return;
      say(openWords(told), "open");
      if (told.filter(isOpen).length === 1) opened(profile);
    });
    if (told.some(isOpen)) {
      say(openWords(told), "open");
      if (profile.auto) follow(profile, 0);
    } else {
      const states = told.map(([{ state }]) => state);
      const isUnsent = states.every((state) => state === "unsent");
      const words = isUnsent ? UNSENT : SILENT;
      say(states.includes("refused") ? REFUSED : words, "bad");
    }
  } catch (error) {
    say(`It failed in this browser: ${(error as Error).message}`, "bad");
  } finally {
    setRunning(false);
    element<HTMLInputElement>("code").value = "";
  }
}

/** An outcome, and the address that was knocked at. */
type Told = readonly [Outcome, string];

const isOpen = ([{ state }]: Told) => state === "open";

function setRunning(on: boolean): void {
  running = on;
  element<HTMLButtonElement>("knock").disabled = on;
  element<HTMLSelectElement>("profile").disabled = on;
}

/** Says for whom it is open, and over what it is not. */
function openWords(told: readonly Told[]): string {
  const family = (address: string) => address.includes(":") ? "IPv6" : "IPv4";
  const open = told.flatMap(([outcome, address]) =>
    outcome.state === "open"
      ? [outcome.source ?? `this device's ${family(address)} address`]
      : []
  );
  const shut = told.filter((one) => !isOpen(one))
    .map(([, address]) => ` Not open over ${family(address)}.`);
  return `Open for ${open.join(" and ")}.${shut.join("")}`;
}

/** Shows for how long it is open still, and where to go. */
function opened(profile: Profile): void {
  const { then, auto, seconds } = profile;
  const sinceMs = Date.now();
  void putProfile({ ...profile, openedMs: sinceMs });
  const untilMs = sinceMs + 1000 * seconds;
  const until = new Date(untilMs).toLocaleTimeString();
  const tick = () => {
    const left = (untilMs - Date.now()) / 1000;
    if (seconds === 0) {
      element("left").textContent = `Since ${formatLeft(-left)}.`;
    } else if (left > 0) {
      element("left").textContent = `Until ${until}: ${formatLeft(left)} left.`;
    } else {
      clear();
      say("Its time is over. Knock to open it again.");
    }
  };
  tick();
  ticker = setInterval(tick, 1000);
  if (then === null) return;
  const link = make("a", `Go to ${new URL(then).host}`, { href: then });
  element("then").replaceChildren(link);
  if (auto) follow(profile, OTHER_FAMILY_MS);
}

/** Goes where the profile leads, once; but who comes back wants the page. */
function follow({ then }: Profile, afterMs: number): void {
  const isBack = performance.getEntriesByType("navigation")
    .some((one) =>
      (one as PerformanceNavigationTiming).type === "back_forward"
    );
  if (then === null || isBack) return;
  clearTimeout(leaving);
  leaving = setTimeout(() => location.assign(then), afterMs);
}

async function makeKey(): Promise<void> {
  const { publicKey } = await ownPair() ?? await freshPair();
  const page = location.protocol === "file:"
    ? "URL"
    : location.origin + location.pathname;
  element("line").textContent = `knock client add phone --key ${
    toBase64url(publicKey)
  } --web ${page}`;
  element("own").hidden = false;
}

async function freshPair() {
  const { privateKey, publicKey } = await generateKeys();
  const pair = { key: privateKey, publicKey };
  await keepOwnPair(pair);
  return pair;
}

async function start(): Promise<void> {
  const fragment = takeFragment();
  const missing = await whatIsMissing();
  if (missing !== null) return say(missing, "bad");
  offerAsApp();
  await showProfiles();
  await followLink(fragment);
}

/** Stores the enrolment that a link has carried here. */
async function followLink(fragment: string): Promise<void> {
  const read = readEnrolment(fragment);
  if (read.ok && read.enrolment.key) element("note").textContent = REMEMBERED;
  await enrolAndSay(fragment);
}

/** Stores an enrolment where there is one, and knocks where its profile says so. */
async function enrolAndSay(text: string): Promise<void> {
  const mistake = text === "" ? null : await enrol(text);
  if (mistake !== null) return say(mistake, "bad");
  if (current?.auto && !current.code) await knock();
  else if (text !== "") say("Stored.");
}

element("knock").addEventListener("click", () => void knock());
element("profile").addEventListener(
  "change",
  (event) => void showProfiles((event.target as HTMLSelectElement).value),
);
element("make").addEventListener("click", () => void makeKey());
element<HTMLFormElement>("enrol").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = element<HTMLInputElement>("enrolment");
  const text = field.value;
  field.value = "";
  void enrolAndSay(text || "-");
});
element("forget").addEventListener("click", () => {
  const name = current?.name;
  if (name === undefined || !confirm(`Forget ${name} on this device?`)) return;
  void forgetProfile(name).then(() => showProfiles()).then(() =>
    say("Forgotten.")
  );
});
globalThis.addEventListener(
  "hashchange",
  () => void followLink(takeFragment()),
);
void start();
