/** `knock client add --dialect`: clients that are another tool's. */

import { addClientText } from "../../config/files/edit.ts";
import { readConfigText } from "../../config/files/load.ts";
import { makeOwnKeys } from "../../config/files/write.ts";
import { UsageError } from "../../values/errors.ts";
import { escapeUnsafe } from "../../values/text.ts";
import {
  type Adding,
  enrolFwknop,
  enrolOpenme,
  enrolOpenspa,
} from "./dialects.ts";
import { createWith } from "./new_files.ts";
import { formatQrSvg } from "./qr.ts";
import { replaceConfig, tellToReload } from "./remove.ts";
import { showQr, tellByHand, tellServer } from "./words.ts";

const ENROLLERS = {
  fwknop: enrolFwknop,
  openme: enrolOpenme,
  openspa: enrolOpenspa,
} as const;

/** Dialects of other tools that a client can be added in. */
export type NewDialect = keyof typeof ENROLLERS;

/** Their names. */
export const NEW_DIALECTS = Object.keys(ENROLLERS) as NewDialect[];

/** Adds a client of another tool's, and returns the exit status. */
export function addInDialect(dialect: NewDialect, adding: Adding): number {
  const { runtime, options, config, text, policy } = adding;
  if (options.flag("code")) {
    throw new UsageError(`a packet of ${dialect} has no place for a code`);
  }
  for (const path of makeOwnKeys(runtime, config, [dialect])) {
    runtime.err(
      `made the key ${escapeUnsafe(path)}: keep a copy in a safe place\n`,
    );
  }
  const made = ENROLLERS[dialect]({
    ...adding,
    config: readConfigText(runtime, config.file, text),
  });
  const svg = options.value("svg");
  const qr = options.flag("qr");
  if (made.qr === null && (qr || svg !== undefined)) {
    throw new UsageError(`there is no QR code for ${dialect}`);
  }
  const entry = { ...policy, keys: made.keys };
  const edited = addClientText(text, entry);
  if (edited === null) {
    createWith(runtime, made.files, () => {});
    runtime.out(made.out);
    throw tellByHand(runtime, config.file, entry, null);
  }
  createWith(runtime, [
    ...made.files,
    ...svg === undefined
      ? []
      : [{ path: svg, data: formatQrSvg(made.qr!), isOutput: true }],
  ], () => {
    readConfigText(runtime, config.file, edited);
    replaceConfig(runtime, config.file, edited);
  });
  runtime.out(made.out);
  if (qr) showQr(runtime, `the enrolment of ${policy.name}`, made.qr!);
  for (const hint of made.hints) runtime.err(`knock: hint: ${hint}\n`);
  tellServer(runtime, options, made.server);
  tellToReload(runtime);
  return 0;
}
