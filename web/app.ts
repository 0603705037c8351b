/// <reference lib="dom" />
/** The page: what a user sees and touches. Every state is one of plain words. */

import { type Outcome, sendKnock } from "./ice.ts";
import {
  type Enrolment,
  formatLeft,
  isAddress,
  readCode,
  readDnsAnswer,
  readEnrolment,
} from "./profile.ts";
import { generateKeys, importKey, seal, toBase64url } from "./seal.ts";
import {
  forgetProfile,
  keepOwnPair,
  listProfiles,
  ownPair,
  type Profile,
  putProfile,
} from "./store.ts";

/** Knocks at one address before it counts as silent; each is a fresh packet. */
const TRIES = 3;

const SILENT =
  "No answer. Possible causes: this device's clock is wrong, the " +
  "server's address changed, this network blocks UDP, or this device was " +
  "removed from the server.";
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
let running: AbortController | null = null;
let ticker: ReturnType<typeof setInterval> | undefined;

/** Names what this browser lacks, in words; null = nothing. */
async function whatIsMissing(): Promise<string | null> {
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

/** Takes an enrolment out of the address bar and the history, and stores it. */
async function takeFragment(): Promise<string | null> {
  const fragment = location.hash;
  if (fragment.length < 2) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return await enrol(fragment.slice(1));
}

/** Stores an enrolment; returns the mistake in words, or null. */
async function enrol(text: string): Promise<string | null> {
  const read = readEnrolment(text);
  if (!read.ok) return read.why;
  const { enrolment } = read;
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
  await showProfiles(enrolment.name);
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
  const profiles = await listProfiles();
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
  element("empty").hidden = current !== null;
  element("name").textContent = current?.name ?? "";
  element("code-field").hidden = !current?.code;
  element("then").replaceChildren();
}

/** The server's addresses: by its name where a resolver is named, else as enrolled. */
async function addressesOf({ host, at, doh }: Profile): Promise<string[]> {
  if (isAddress(host)) return [host];
  if (doh === null) return [...at];
  const ask = async (type: string) => {
    const url = new URL(doh);
    url.searchParams.set("name", host);
    url.searchParams.set("type", type);
    const headers = { accept: "application/dns-json" };
    const response = await fetch(url, {
      headers,
      referrerPolicy: "no-referrer",
    });
    return readDnsAnswer(await response.json());
  };
  try {
    const found = (await Promise.all([ask("A"), ask("AAAA")])).flat();
    return found.length > 0 ? found : [...at];
  } catch {
    return [...at];
  }
}

/** Knocks at one address, with fresh packets, until it answers. */
async function knockAt(
  profile: Profile,
  address: string,
  code: number | null,
  signal: AbortSignal,
): Promise<Outcome> {
  for (let tried = 0; tried < TRIES && !signal.aborted; tried++) {
    const ask = { ports: [], seconds: 0, code };
    const sealed = await seal(profile, await generateKeys(), ask, Date.now());
    const outcome = await sendKnock(sealed, address, profile.port, signal);
    if (outcome !== "silent") return outcome;
    // A code is good once; and the server may have used it.
    if (code !== null) break;
  }
  return "silent";
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
  const abort = running = new AbortController();
  clearInterval(ticker);
  element("then").replaceChildren();
  element<HTMLButtonElement>("knock").disabled = true;
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
    // Each family's knock opens for its own address.
    const four = addresses.find((one) => !one.includes(":"));
    const six = addresses.find((one) => one.includes(":"));
    const outcomes = await Promise.all(
      [four, six].filter((one) => one !== undefined).map((address) =>
        knockAt(profile, address, code, abort.signal)
      ),
    );
    if (outcomes.includes("open")) return await opened(profile);
    say(outcomes.includes("refused") ? REFUSED : SILENT, "bad");
  } catch (error) {
    say(`It failed in this browser: ${(error as Error).message}`, "bad");
  } finally {
    running = null;
    element<HTMLButtonElement>("knock").disabled = false;
    element<HTMLInputElement>("code").value = "";
  }
}

async function opened(profile: Profile): Promise<void> {
  const sinceMs = Date.now();
  await putProfile({ ...profile, openedMs: sinceMs });
  const tick = () => {
    const seconds = (Date.now() - sinceMs) / 1000;
    say(`Open for this address since ${formatLeft(seconds)}.`, "open");
  };
  say("Open for this address.", "open");
  ticker = setInterval(tick, 1000);
  const { then } = profile;
  if (then === null) return;
  element("then").replaceChildren(
    make("a", `Go to ${new URL(then).host}`, { href: then }),
  );
  if (profile.auto) location.assign(then);
}

async function makeKey(): Promise<void> {
  const waiting = await ownPair();
  const pair = waiting ?? await freshPair();
  const line = `knock client add phone --key ${toBase64url(pair.publicKey)} ` +
    `--web ${
      location.origin === "null" ? "URL" : location.origin + location.pathname
    }`;
  element("line").textContent = line;
  element("own").hidden = false;
}

async function freshPair() {
  const { privateKey, publicKey } = await generateKeys();
  const pair = { key: privateKey, publicKey };
  await keepOwnPair(pair);
  return pair;
}

async function start(): Promise<void> {
  const missing = await whatIsMissing();
  if (missing !== null) return say(missing, "bad");
  await showProfiles();
  const mistake = await takeFragment();
  if (mistake !== null) return say(mistake, "bad");
  if (current?.auto && !current.code) await knock();
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
  void enrol(text).then((mistake) =>
    mistake === null ? say("Stored.") : say(mistake, "bad")
  );
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
  () =>
    void takeFragment().then((mistake) =>
      mistake === null ? undefined : say(mistake, "bad")
    ),
);
void start();
