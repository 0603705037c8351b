/** The tools whose configuration can be converted. */

import { UsageError } from "../../values/errors.ts";
import type { Converted, Includes } from "./converted.ts";
import { convertFwknop } from "./fwknop/convert.ts";
import { convertKnockd } from "./knockd/convert.ts";
import { convertOpenme } from "./openme/server.ts";
import { convertOpenspa } from "./openspa.ts";

/** Files of the tool's that were given, or that those name. */
export interface Sources {
  /** Throws ConfigError if it cannot be read. */
  readonly read: (path: string) => Uint8Array;
  /** Null if it cannot be read. */
  readonly find: (path: string) => Uint8Array | null;
  /** The names in a folder, null if it cannot be read. */
  readonly list: (path: string) => readonly string[] | null;
}

/** Converts files. Throws OperatorErrors of status 2. */
type Convert = (files: readonly string[], sources: Sources) => Converted;

/** Each tool's name, and how its files are converted. */
export const CONVERTERS: Readonly<Record<string, Convert>> = {
  knockd: ([file, extra], { read, find }) => {
    refuseMore("knockd has one configuration file", extra);
    return convertKnockd(read(file!), file!, find);
  },
  fwknop: (files, sources) =>
    convertFwknop(
      files.map((name) => ({ name, text: textOf(sources.read(name)) })),
      includesOf(sources),
    ),
  openme: ([file, extra], { read }) => {
    refuseMore("openme has one configuration file", extra);
    return convertOpenme(textOf(read(file!)), file!);
  },
  openspa: ([file, folder, extra], sources) => {
    refuseMore("openspa has one configuration and one folder", extra);
    const text = textOf(sources.read(file!));
    return convertOpenspa(text, file!, folder ?? null, includesOf(sources));
  },
};

/** The files of each tool, as the help of `knock convert` lists them. */
export const CONVERTER_WORDS = `    knockd FILE      knockd.conf
    fwknop FILE...   access.conf, and fwknopd.conf where it was changed; or a
                     client's .fwknoprc, which becomes profiles.yaml
    openme FILE      config.yaml of its server
    openspa FILE [FOLDER]
                     config.yaml of its server, and the folder of its clients'
                     keys where it is not the one named there
`;

function refuseMore(words: string, extra: string | undefined): void {
  if (extra === undefined) return;
  throw new UsageError(`${words}, got "${extra}" besides`);
}

function includesOf({ find, list }: Sources): Includes {
  const read = (path: string) => {
    const bytes = find(path);
    return bytes && textOf(bytes);
  };
  return { read, list };
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
