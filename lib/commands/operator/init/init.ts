import {
  configIn,
  defaultConfig,
  pathBeside,
} from "../../../config/files/places.ts";
import { formatConfig } from "../../../config/files/write.ts";
import { parseConfig } from "../../../config/read.ts";
import { BACKENDS, DEFAULT_PORT } from "../../../config/shape.ts";
import { KEY_SIZE } from "../../../dialects/crypto/curve25519.ts";
import { chooseFirewall } from "../../../firewall/host/choice.ts";
import {
  proposeInterfaces,
  readInterfaces,
} from "../../../firewall/host/interfaces.ts";
import { listing, readHost } from "../../../firewall/host/read.ts";
import type { Runtime } from "../../../runtime/runtime.ts";
import { parseEndpoint } from "../../../values/address.ts";
import { formatBase64url } from "../../../values/bytes.ts";
import {
  caught,
  FailureError,
  orNull,
  UsageError,
} from "../../../values/errors.ts";
import {
  onePort,
  parsePortRange,
  portHint,
  type PortRange,
} from "../../../values/ports.ts";
import { escapeUnsafe } from "../../../values/text.ts";
import {
  oneOf,
  parseOptions,
  readPort,
  takePositionals,
} from "../../command.ts";
import { createWith } from "../../enrol/new_files.ts";
import type {
  BackendName,
  FirewallConfig,
} from "../../../firewall/firewall.ts";
import type { NewService } from "../../../config/config.ts";
import { NAME } from "../../../values/schema.ts";

/** The text of `knock help init`. */
export const help = `Usage:
    knock init [--dir DIR] [--backend NAME] [--mode guard|accept]
               [--service NAME=PORTS ...] [--listen PORT]

Writes a new configuration, DIR/server.yaml, and a new key, DIR/server.key.
Files that exist are never changed.

Options:
    -d, --dir DIR              The folder. Default: /etc/knock for root,
                               ~/.config/knock for others; KNOCK_CONFIG names
                               another file.
    -b, --backend NAME         nft, iptables, gate or command. Default: nft for
                               root on Linux where it works, else gate.
    -m, --mode MODE            nft, iptables: guard or accept. Default: guard;
                               accept where this host's own rules drop the
                               services' ports and knock's can accept them.
    -s, --service NAME=PORTS...
                               A service to hide, such as ssh=tcp/22 or
                               web=tcp/80,tcp/443. With gate, also the target
                               of its connections:
                               ssh=tcp/2222,127.0.0.1:22. May be repeated.
                               Default: ssh.
    -l, --listen PORT          UDP port of the server. Default: ${DEFAULT_PORT}.

Example:
    $ sudo knock init --service ssh=tcp/22
    $ sudo knock client add laptop --server home.example.org
`;

/** Runs `knock init`. */
export async function run(args: string[], runtime: Runtime): Promise<number> {
  const options = parseOptions(args, help);
  takePositionals(options, []);
  const dir = options.value("dir");
  const file = dir === undefined ? usualFile(runtime) : configIn(runtime, dir);
  const backend = options.value("backend");
  const named = backend === undefined
    ? undefined
    : oneOf("--backend", backend, BACKENDS);
  const usual = named ?? await usualBackend(runtime);
  const services = options.list("service").map((text) =>
    parseService(text, usual)
  );
  const twice = services.map(({ name }) => name)
    .find((name, index, names) => names.indexOf(name) < index);
  if (twice !== undefined) {
    throw new UsageError(
      `--service names "${twice}" twice`,
      `several ports go into one: --service ${twice}=tcp/80,tcp/443`,
    );
  }
  const given = {
    port: readPort("--listen", options.value("listen") ?? String(DEFAULT_PORT)),
    services: services.length > 0 ? services : [sshService(usual)],
  };
  const { notes, ...firewall } = chooseFirewall(
    runtime.userId() === 0 ? await readHost(runtime) : null,
    {
      ...given,
      backend: usual,
      isNamed: named !== undefined,
      mode: readMode(options.value("mode"), usual),
      isLegacy: await hasLegacy(runtime),
    },
  );
  const proposal = proposeInterfaces(
    readInterfaces(runtime) ?? [],
    { ...firewall, interfaces: [] },
  );
  const allNotes = proposal
    ? [...notes, `${proposal.text}; ${proposal.cure}`]
    : notes;
  const key = runtime.random(KEY_SIZE);
  const settings = { ...given, ...firewall, clients: [] };
  const keyFile = newConfiguration(runtime, file, key, settings);
  // Without a home, or the right to ask for it, --dir is enough.
  const isUsual = dir === undefined ||
    caught(Error, () => file === usualFile(runtime), () => false);
  const config = isUsual ? "" : ` --config ${escapeUnsafe(file)}`;
  runtime.err(`wrote ${escapeUnsafe(`${file} and ${keyFile}`)}
${allNotes.map((note) => `${escapeUnsafe(note)}\n`).join("")}next:
    knock client add NAME${config}     enrol a client: prints a line for it
    knock check${config}               after every change of the file
    knock serve${config}               run the server
`);
  return 0;
}

/**
 * Reads `NAME=PORTS[,HOST:PORT]`. Throws UsageError; with the gate the
 * HOST:PORT must be there.
 */
function parseService(text: string, backend: BackendName): NewService {
  const hint = backend === "gate"
    ? "as in --service ssh=tcp/2222,127.0.0.1:22"
    : "as in --service ssh=tcp/22 or --service web=tcp/80,tcp/443";
  const wrong = (words: string) =>
    new UsageError(`--service ${words}, got "${text}"`, hint);
  const equals = text.indexOf("=");
  const name = text.slice(0, Math.max(equals, 0));
  if (!NAME.pattern.test(name)) {
    throw wrong("must be NAME=tcp/PORT or NAME=udp/PORT");
  }
  const ports: PortRange[] = [];
  let to: NewService["to"] = null;
  for (const part of text.slice(equals + 1).split(",")) {
    const range = parsePortRange(part);
    const target = parseEndpoint(part);
    if (range) ports.push(range);
    else if (target && target.port > 0 && to === null) to = target;
    else {
      throw new UsageError(
        `--service ${name} must be tcp/PORT or udp/PORT, got "${part}"`,
        portHint(part) ?? hint,
      );
    }
  }
  if (ports.length === 0) {
    throw wrong(`${name} must have a tcp/PORT or udp/PORT`);
  }
  if (backend === "gate" && to === null) {
    throw wrong(`${name} must say where connections go with the gate backend`);
  }
  return { name, ports, to };
}

function readMode(
  value: string | undefined,
  backend: BackendName,
): FirewallConfig["mode"] | null {
  if (value === undefined) return null;
  const mode = oneOf("--mode", value, ["guard", "accept"]);
  if (backend !== "nft" && backend !== "iptables") {
    throw new UsageError(
      `--mode is for --backend nft or iptables, got "${backend}"`,
    );
  }
  return mode;
}

/** nft where this user can use it now, else the gate, which needs nothing. */
async function usualBackend(runtime: Runtime): Promise<BackendName> {
  if (runtime.platform !== "linux" || runtime.userId() !== 0) return "gate";
  const tables = await listing(runtime, ["nft", "list", "tables"], 5000);
  return tables === null ? "gate" : "nft";
}

/** True if `iptables` here works on the kernel's own tables, beside nftables. */
async function hasLegacy(runtime: Runtime): Promise<boolean> {
  const said = await listing(runtime, ["iptables", "--version"], 5000);
  return said !== null && !said.includes("nf_tables");
}

/** The file that commands read where none is named. */
function usualFile(runtime: Runtime): string {
  return runtime.env("KNOCK_CONFIG") ?? defaultConfig(runtime);
}

// A new configuration on disk: its text and its key.

/**
 * Writes a configuration and its key as new files; returns the key's path.
 * Throws FailureError when one of them exists, or cannot be written: then
 * there is neither.
 */
export function newConfiguration(
  runtime: Runtime,
  file: string,
  key: Uint8Array,
  settings: Parameters<typeof formatConfig>[0],
): string {
  const keyFile = pathBeside(runtime, file, "server.key");
  const text = formatConfig(settings);
  // What cannot be read again is not written.
  parseConfig(text, {
    file,
    readKey: () => key,
    readCode: () => key,
    stateFolder: () => "",
  });
  for (const path of [keyFile, file]) {
    if (!orNull(() => runtime.files.stat(path))) continue;
    throw new FailureError(
      `${path} exists already: nothing was written`,
      "give another folder with --dir DIR, or move that file away",
    );
  }
  createWith(runtime, [
    { path: keyFile, data: `${formatBase64url(key)}\n` },
    { path: file, data: text },
  ], () => {});
  return keyFile;
}

/** The service of a new configuration that names none; the gate has a port of its own before it. */
export function sshService(backend: BackendName, gatePort = 2222): NewService {
  const ports = [onePort("tcp", backend === "gate" ? gatePort : 22)];
  const to = backend === "gate" ? { host: "127.0.0.1", port: 22 } : null;
  return { name: "ssh", ports, to };
}
