/** A new configuration on disk: its text, its key, and the first client. */

import type { Enrolled } from "../../client/profile/file.ts";
import type { BackendName, FirewallConfig } from "../../config/config.ts";
import { parseConfig } from "../../config/parse.ts";
import { pathBeside } from "../../config/files/places.ts";
import { createOwn, makeOwnFolder } from "../../config/files/rights.ts";
import { DEFAULT_PORT } from "../../config/shape.ts";
import { KEY_SIZE } from "../../dialects/crypto/curve25519.ts";
import { formatConfig, type NewService } from "../../config/files/write.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { type Runtime, SystemError } from "../../runtime/runtime.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { FailureError } from "../../values/errors.ts";
import { enrol, type NewKeys, ownHost } from "../enrol/enrol.ts";

export interface NewConfiguration {
  /** Where to; its folder is made if it is not there. */
  readonly file: string;
  readonly backend: BackendName;
  /** Default: guard. */
  readonly mode?: FirewallConfig["mode"];
  /** The host's chain of mode accept; null or absent: the default. */
  readonly chain?: string | null;
  /** Default: {@linkcode DEFAULT_PORT}. */
  readonly port?: number;
  /** Default: {@linkcode defaultServices}. */
  readonly services?: readonly NewService[];
  /** A first client to enrol, which may open all services. */
  readonly client?: string;
}

/** What was written. */
export interface Written {
  readonly keyFile: string;
  /** The first client's enrolment; null where none was asked for. */
  readonly enrolment: Enrolled | null;
}

/**
 * Writes a configuration and its key as new files. Throws FailureError
 * when one of them exists, or cannot be written: then there is neither.
 */
export function newConfiguration(
  runtime: Runtime,
  options: NewConfiguration,
): Written {
  const { file, backend, mode = "guard", port = DEFAULT_PORT } = options;
  const services = options.services ?? defaultServices(backend);
  const keyFile = pathBeside(runtime, file, "server.key");
  const key = runtime.random(KEY_SIZE);
  const client: NewKeys | null = options.client === undefined
    ? null
    : enrol(runtime, options.client, services.map(({ name }) => name));
  const text = formatConfig({
    port,
    backend,
    mode,
    chain: options.chain ?? null,
    services,
    clients: client ? [client.entry] : [],
  });
  // What cannot be read again is not written.
  parseConfig(text, {
    file,
    readKey: () => key,
    readCode: () => key,
    stateFolder: () => "",
  });
  writeBoth(runtime, [[keyFile, `${formatBase64url(key)}\n`], [file, text]]);
  return {
    keyFile,
    enrolment: client && {
      host: ownHost(runtime, []),
      port,
      name: client.entry.name,
      server: publicKeyOf(key),
      key: client.privateKey!,
      psk: client.entry.psk,
    },
  };
}

/** What a configuration hides that does not say: ssh. */
export function defaultServices(backend: BackendName): NewService[] {
  const tcp = (port: number) => ({
    protocol: "tcp" as const,
    first: port,
    last: port,
  });
  return backend === "gate"
    ? [{ name: "ssh", ports: [tcp(2222)], to: { host: "127.0.0.1", port: 22 } }]
    : [{ name: "ssh", ports: [tcp(22)], to: null }];
}

function writeBoth(
  runtime: Runtime,
  files: readonly (readonly [path: string, data: string])[],
): void {
  const made: string[] = [];
  try {
    for (const [path] of files) {
      if (!runtime.files.stat(path)) continue;
      throw new FailureError(
        `${path} exists already: nothing was written`,
        "give another folder with --dir DIR, or move that file away",
      );
    }
    const folder = pathBeside(runtime, files[0]![0], ".");
    makeOwnFolder(runtime, folder);
    for (const [path, data] of files) {
      createOwn(runtime, path, data);
      made.push(path);
    }
  } catch (error) {
    for (const path of made) {
      try {
        runtime.files.remove(path);
      } catch {
        // The first failure is the one to tell.
      }
    }
    if (!(error instanceof SystemError)) throw error;
    throw new FailureError(
      `cannot write ${files[made.length]![0]}: ${error.message}`,
      error.code === "EACCES"
        ? "give a folder of yours with --dir DIR, or run it as root"
        : undefined,
    );
  }
}
