/** `knock client add`: new keys into the configuration, the enrolment out. */

import { formatEnrolment } from "../../client/profile/enrolment.ts";
import {
  addressesFor,
  formatWebLink,
  readWebWords,
} from "../../client/profile/web.ts";
import {
  type Config,
  datagramPlaces,
  type Listen,
} from "../../config/config.ts";
import { ALL } from "../../config/checks/checks.ts";
import { addClientText } from "../../config/files/edit.ts";
import {
  loadConfig,
  readConfigText,
  readFile,
} from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import { makeOwnKeys, type NewClient } from "../../config/files/write.ts";
import type { DialectName } from "../../dialects/dialect.ts";
import { drawKnockKeys, parseKey } from "../../dialects/knock1/keys.ts";
import { DIALECT_NAMES, DIALECTS } from "../../dialects/table.ts";
import {
  CODE_SECRET_SIZE,
  formatCodeSecret,
} from "../../dialects/crypto/codes.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import {
  type Endpoint,
  isLinkLocal,
  parseAddress,
  parseEndpoint,
} from "../../values/address.ts";
import { UsageError } from "../../values/errors.ts";
import { parsePortRange, portHint } from "../../values/ports.ts";
import { NAME } from "../../values/schema.ts";
import { counted, escapeUnsafe, nearest } from "../../values/text.ts";
import { oneOf, type Options, printHint, readDuration } from "../command.ts";
import { type Adding, enrol, isThere, reloadServer } from "./apply.ts";
import { codeFileOf } from "./new_files.ts";
import { showCode, tellNext, tellPage } from "./words.ts";

/** Runs `knock client add`. */
export async function addClient(
  runtime: Runtime,
  options: Options,
  name: string,
): Promise<number> {
  if (!NAME.pattern.test(name)) {
    throw new UsageError(`NAME must be ${NAME.wanted}, got "${name}"`);
  }
  const file = needConfig(runtime, options.value("config"));
  const text = readFile(runtime, file);
  const config = readConfigText(runtime, file, text);
  if (config.clients.some((client) => client.name === name)) {
    throw isThere(name, file);
  }
  const fleet = options.flag("local") ? null : config.fleet;
  const adding = { runtime, options, config, text, fleet };
  const open = readOpen(options, config);
  const forSeconds = readDuration(options, "for", 1) ?? null;
  const named = options.value("dialect") ?? "knock";
  const dialect = oneOf("--dialect", named, DIALECT_NAMES);
  const page = readWebWords({
    web: options.value("web"),
    then: options.value("then"),
    doh: options.value("doh"),
    auto: options.flag("auto"),
  });
  if (page !== null && dialect !== "knock") {
    throw new UsageError(
      `a browser knocks by knock/1 alone, got --dialect "${dialect}"`,
    );
  }
  const policy = { name, open, forSeconds };
  const server = dialect === "knock"
    ? await addKnock(adding, policy, page)
    : await addInDialect(dialect, adding, policy);
  if (options.value("server") === undefined) {
    const words = `the client will knock at ${server.host}`;
    printHint(runtime, `${words}: --server HOST names another`);
  }
  if (dialect === "knock" && config.listen.length === 0) {
    const words = "this server sends no reply: knock with --no-reply --wait";
    printHint(runtime, words);
  }
  return fleet ? 0 : await reloadServer(runtime, config);
}

/** Adds a client of our own dialect; the server as it knows it. */
async function addKnock(
  adding: Adding,
  policy: Omit<NewClient, "keys">,
  page: ReturnType<typeof readWebWords>,
): Promise<Endpoint> {
  const { runtime, options, config, text } = adding;
  const { name } = policy;
  const publicKey = readKey(options, config);
  const server = readServer(adding);
  const code = options.flag("code")
    ? formatCodeSecret(runtime.random(CODE_SECRET_SIZE))
    : null;
  const { privateKey, ...keys } = drawKnockKeys(runtime, publicKey);
  const entry: NewClient = {
    ...policy,
    keys,
    ...code !== null && { code: codeFileOf(name) },
    web: page !== null,
  };
  const enrolled = {
    ...server,
    name,
    server: publicKeyOf(config.key),
    key: privateKey,
    psk: keys.psk,
    ...code !== null && { code },
  };
  const enrolment = page === null ? formatEnrolment(enrolled) : formatWebLink(
    enrolled,
    {
      ...page,
      at: await findAddresses(options, runtime, server.host),
      seconds: usualSeconds(runtime, config.file, text, entry),
    },
  );
  await enrol(adding, {
    entry,
    files: [],
    code,
    out: `${enrolment}\n`,
    qr: enrolment,
  });
  if (code !== null) showCode(runtime, name, code, options.flag("qr"));
  if (page !== null) tellPage(runtime, name);
  else tellNext(runtime, name, privateKey !== null);
  return server;
}

/** Adds a client of another tool's; the server as it knows it. */
async function addInDialect(
  dialect: DialectName,
  adding: Adding,
  policy: Omit<NewClient, "keys">,
): Promise<Endpoint> {
  const { runtime, options, config } = adding;
  if (options.flag("code")) {
    throw new UsageError(`a packet of ${dialect} has no place for a code`);
  }
  for (const path of makeOwnKeys(runtime, config, [dialect])) {
    runtime.err(
      `made the key ${escapeUnsafe(path)}: keep a copy in a safe place\n`,
    );
  }
  const make = await DIALECTS[dialect].enrol!();
  const made = make({
    name: policy.name,
    key: options.value("key"),
    ports: policy.open.flatMap((entry) =>
      typeof entry === "string"
        ? config.services.filter(({ name }) => entry === ALL || name === entry)
          .flatMap(({ ports }) => ports)
        : [entry]
    ),
    server: (port) => readServer(adding, port),
    random: (size) => runtime.random(size),
    rsaPrivateKey: (bits) => runtime.rsaPrivateKey(bits),
  }, loadConfig(runtime, config.file));
  const isDrawn = options.flag("qr") || options.value("svg") !== undefined;
  if (made.qr === null && isDrawn) {
    throw new UsageError(`there is no QR code for ${dialect}`);
  }
  const entry = { ...policy, keys: made.keys };
  await enrol(adding, { ...made, entry, code: null });
  for (const hint of made.hints) printHint(runtime, hint);
  return made.server;
}

/** Ports and services of `--open`; throws UsageError. Default: all services, by name. */
export function readOpen(options: Options, config: Config): NewClient["open"] {
  const names = config.services.map(({ name }) => name);
  const given = options.list("open").flatMap((list) => list.split(","));
  if (given.length === 0 && names.length === 0) {
    throw new UsageError(
      "there is no service that the client could open",
      `add one under "services:", or give ports: --open tcp/22`,
    );
  }
  return given.length === 0 ? names : given.map((part) => {
    const found = part.includes("/")
      ? parsePortRange(part)
      : [...names, ALL].find((name) => name === part);
    if (found) return found;
    throw new UsageError(
      `--open must be services, all, tcp/PORT or udp/PORT, got "${part}"`,
      portHint(part) ?? nearest(part, names) ??
        (names.length > 0
          ? `the services are ${names.join(", ")}`
          : `there are no services: give ports, as tcp/22`),
    );
  });
}

function readKey(options: Options, config: Config): Uint8Array | undefined {
  const given = options.value("key");
  if (given === undefined) return undefined;
  const key = parseKey(given);
  if (!key) {
    // It may be the private key by mistake: it is not repeated.
    throw new UsageError(
      `--key must be a public key of 43 base64url characters, ` +
        `got ${counted(given.length, "character")}`,
      "`knock pubkey < PRIVATE` prints it",
    );
  }
  const owner = config.clients.find(({ knock }) =>
    knock?.key.every((byte, index) => byte === key[index])
  );
  if (!owner) return key;
  throw new UsageError(`--key is already the key of client "${owner.name}"`);
}

function readServer(
  { runtime, options, config }: Adding,
  usualPort?: number,
): Endpoint {
  const places = datagramPlaces(config);
  const usual = places.find(({ port }) => port === usualPort);
  const { port } = usual ?? places[0] ?? config.streams[0]!;
  const given = options.value("server");
  if (given === undefined) {
    return { host: ownHost(runtime, places), port };
  }
  const server = parseEndpoint(given, port);
  if (server && server.port > 0) return server;
  throw new UsageError(
    `--server must be HOST, HOST:PORT or [IPV6]:PORT, got "${given}"`,
  );
}

/** The length of a new client's grants when it asks for none, by the file's text, seconds. */
function usualSeconds(
  runtime: Runtime,
  file: string,
  text: string,
  { code: _notMadeYet, ...entry }: NewClient,
): number | null {
  const edited = addClientText(text, entry);
  if (edited === null) return entry.forSeconds;
  const { clients } = readConfigText(runtime, file, edited);
  return clients.find(({ name }) => name === entry.name)!.forSeconds;
}

/** The server's addresses for a browser; prints a hint where there are none. */
async function findAddresses(
  options: Options,
  runtime: Runtime,
  host: string,
): Promise<readonly string[]> {
  const isNamed = options.value("server") !== undefined;
  const found = await addressesFor(runtime, host, isNamed);
  const isMissing = found.length === 0 && parseAddress(host) === null;
  if (isMissing && options.value("doh") === undefined) {
    printHint(
      runtime,
      `${host} has no address here that a browser could use: ` +
        "name a resolver with --doh URL, or an address with --server",
    );
  }
  return found;
}

/** The best guess at the host by which clients reach this machine. */
export function ownHost(runtime: Runtime, listen: readonly Listen[]): string {
  const bound = listen.find(({ host }) => host !== "::" && host !== "0.0.0.0");
  if (bound && listen.length === 1) return bound.host;
  // A link-local address means nothing on another machine.
  const address = runtime.ownAddresses().find((own) => !isLinkLocal(own));
  return address ?? runtime.hostName();
}
