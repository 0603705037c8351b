/** `knock client remove`, and how an edited configuration is put in place. */

import { removeClientText } from "../../config/files/edit.ts";
import { readConfigText, readFile } from "../../config/files/load.ts";
import { needConfig } from "../../config/files/places.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { FailureError } from "../../values/errors.ts";
import { parseOptions, takePositionals } from "../command.ts";
import { FILE_OPTION, findClient } from "./list.ts";
import { removeClientFiles, replaceConfig } from "./new_files.ts";

/** Runs `knock client remove`. */
export function removeClient(args: string[], runtime: Runtime): number {
  const options = parseOptions(args, FILE_OPTION);
  const name = takePositionals(options, ["NAME"])[0]!;
  const file = needConfig(runtime, options.value("config"));
  const text = readFile(runtime, file);
  const edited = removeClientText(text, name);
  if (edited === null) {
    findClient(readConfigText(runtime, file, text), name);
    throw new FailureError(
      `${file} is not in a form that can be edited: it is as it was`,
      `take the entry "${name}" out of "clients:" by hand`,
    );
  }
  readConfigText(runtime, file, edited);
  replaceConfig(runtime, file, edited);
  removeClientFiles(runtime, file, name, { before: text, after: edited });
  tellToReload(runtime);
  return 0;
}

/** Says how a running server learns of the change. */
export function tellToReload(runtime: Runtime): void {
  runtime.err(
    runtime.platform === "windows"
      ? "knock: hint: start a running server again to apply it\n"
      : "knock: hint: a running server applies it on `systemctl reload knock` " +
        "or `kill -HUP`\n",
  );
}
