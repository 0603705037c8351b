/** Profiles from the client files of openme and OpenSPA. */

import { stringify as stringifyYaml } from "@std/yaml";
import { parseOpenmeProfiles } from "../../config/convert/openme/client.ts";
import { parseOspa } from "../../config/convert/ospa.ts";
import { formatOpenmeSeed } from "../../dialects/openme/keys.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { formatBase64 } from "../../values/bytes.ts";
import { UsageError } from "../../values/errors.ts";

/** A profile as another tool's file has it. */
export interface ForeignProfile {
  /** Null: the file does not say. */
  readonly name: string | null;
  readonly server: Endpoint;
  /** The profile's keys, as `profiles.yaml` writes them. */
  readonly keys: Readonly<Record<string, unknown>>;
  /** Settings that were not converted or need review; no secrets. */
  readonly notes: readonly string[];
}

/** True if a text is a client file of another tool that can be read here. */
export function looksForeign(text: string): boolean {
  return isOspa(text) || isOpenme(text);
}

/**
 * Reads an OSPA file, openme's client file, or the JSON of openme's QR codes.
 * Throws ConfigError with every mistake, and UsageError for a file whose
 * private keys are elsewhere.
 */
export function readForeignProfiles(
  text: string,
  file: string,
): ForeignProfile[] {
  return isOspa(text) ? [readOspa(text, file)] : readOpenme(text, file);
}

/** The text of one profile, as `profiles.yaml` has it. */
export function formatForeignProfile(
  name: string,
  { server, keys }: ForeignProfile,
): string {
  return stringifyYaml({ [name]: { server: formatEndpoint(server), ...keys } });
}

function isOspa(text: string): boolean {
  return /^["']?clientUUID["']?\s*:/m.test(text);
}

function isOpenme(text: string): boolean {
  return /["']?server_pubkey["']?\s*:/.test(text);
}

function readOspa(text: string, file: string): ForeignProfile {
  const { uuid, server, adkSecret, privateKey, serverKey } = //
    parseOspa(text, file);
  const openspa = {
    uuid,
    key: privateKey,
    server: serverKey,
    ...adkSecret === null ? {} : { adk_secret: adkSecret },
  };
  const name = /([^/\\]+)\.(?:ospa|ya?ml)$/i.exec(file)?.[1] ?? null;
  const notes = [
    "OpenSPA names one port or range with each knock: --open tcp/22, or " +
    "open: tcp/22 in the profile",
    "its client asks a web server for the address to open for: where the " +
    "server sees another than this machine has, from: resolve does so here",
  ];
  return { name, server, keys: { openspa }, notes };
}

function readOpenme(text: string, file: string): ForeignProfile[] {
  return parseOpenmeProfiles(text, file).map((profile) => {
    const { name, server, serverKey, seed, postKnock } = profile;
    if (!seed) {
      throw new UsageError(
        `${file}: "${name}" has no private key: its client keeps it elsewhere`,
      );
    }
    const openme = {
      server: formatBase64(serverKey),
      key: formatOpenmeSeed(seed),
    };
    const notes = postKnock === null ? [] : [
      `post_knock of "${name}" is not carried over: \`knock exec PROFILE -- ` +
      `COMMAND\` knocks and then runs a command`,
    ];
    return { name, server, keys: { openme }, notes };
  });
}
