/**
 * fwknop's files as ours: access.conf and fwknopd.conf as a server.yaml,
 * .fwknoprc as a profiles.yaml. Every keyword is carried over, or named in a
 * warning.
 * @module
 */

import { ConfigError, UsageError } from "../../../values/errors.ts";
import { type Converted, formatServer, type Includes } from "../converted.ts";
import { convertAccess } from "./access.ts";
import { convertDaemon, DAEMON_KEYWORD } from "./daemon.ts";
import { readDirectives, readStanzas, type SourceFile } from "./lines.ts";
import { convertRc } from "./rc.ts";

/** Tells by its content which of fwknop's files one is; null if it is none. */
export function fwknopFileOf(
  { text }: SourceFile,
): "access" | "daemon" | "rc" | null {
  if (/^[ \t]*\[[^\]\n]+\]/m.test(text)) return "rc";
  if (/^\s*(SOURCE:?\s|%include)/m.test(text)) return "access";
  // As it is delivered, fwknopd.conf is comments alone.
  const settings = text.replace(/^\s*#.*$/gm, "").trim();
  return settings === "" || DAEMON_KEYWORD.test(settings) ||
      /^[A-Z][A-Z_]+:?\s+\S.*;/m.test(settings)
    ? "daemon"
    : null;
}

/**
 * Converts the files of a server, or those of a client. Throws UsageError when
 * they are of both, or when one is none of fwknop's.
 */
export function convertFwknop(
  files: readonly SourceFile[],
  includes: Includes,
): Converted {
  const { access = [], daemon = [], rc = [], none = [] } = Object.groupBy(
    files,
    (file) => fwknopFileOf(file) ?? "none",
  );
  if (none[0]) {
    throw new UsageError(
      `${none[0].name} is no access.conf, fwknopd.conf or .fwknoprc`,
    );
  }
  if (rc.length > 0 && rc.length < files.length) {
    throw new UsageError(
      "these are files of a server and of a client",
      "convert access.conf and fwknopd.conf together, and .fwknoprc alone",
    );
  }
  return rc.length > 0
    ? convertClient(rc)
    : convertServer(access, daemon, includes);
}

function convertClient(files: readonly SourceFile[]): Converted {
  const warnings: string[] = [];
  const profiles = files.flatMap((file) => convertRc(file, warnings));
  if (profiles.length === 0) {
    throw nothingIn(files, warnings, "no stanza of it can be a profile");
  }
  const head = "# Profiles, from fwknop's. They hold secrets: mode 0600.\n\n";
  const text = head + profiles.join("\n");
  return { text, warnings, files: new Map(), name: "profiles.yaml" };
}

function convertServer(
  access: readonly SourceFile[],
  daemon: readonly SourceFile[],
  includes: Includes,
): Converted {
  const warnings: string[] = [];
  const { listen, maxSkewSeconds, backend, gpgHome } = convertDaemon(
    daemon.flatMap((file) => readDirectives(file, warnings)),
    warnings,
  );
  const stanzas = access.flatMap((file) =>
    readStanzas(file, includes, warnings)
  );
  const clients = convertAccess(stanzas, gpgHome, warnings);
  if (access.length === 0) {
    warnings.push("no access.conf is among the files: nobody may knock");
  } else if (clients.length === 0) {
    throw nothingIn(access, warnings, "no stanza of it can be a client");
  }
  const text = formatServer({
    head:
      `# The server's configuration, from fwknop's. It holds its clients' secrets:
# mode 0600. "knock check" validates it.
# IPv4 alone, as fwknopd; a port without an address is for IPv6, too.`,
    listen,
    settings: [`max_skew: ${maxSkewSeconds}s`],
    firewall:
      `# As fwknopd: what is opened is added to the host's own rules, which close.
backend: ${backend}
mode: accept`,
    services: [],
    clients,
  });
  return { text, warnings, files: new Map() };
}

/** An error with the reasons: what opens nothing is no conversion. */
function nothingIn(
  files: readonly SourceFile[],
  warnings: readonly string[],
  words: string,
): ConfigError {
  const names = files.map(({ name }) => name).join(", ");
  return new ConfigError([...warnings, `${names}: ${words}`]);
}
