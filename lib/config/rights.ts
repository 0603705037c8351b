/** The rights of files that hold secrets. */

import type { FileInfo } from "../runtime/runtime.ts";

/** Permission bits by which others could read or change a file. */
const OTHERS = 0o066;

/** What is wrong with a file's rights, and the cure; null if nothing is. */
export function rightsMistake(
  file: string,
  { mode }: Pick<FileInfo, "mode">,
): { readonly text: string; readonly hint: string } | null {
  if (mode === null || (mode & OTHERS) === 0) return null;
  return {
    text: `must be closed to other users as it holds secrets, got mode "0${
      (mode & 0o777).toString(8)
    }"`,
    hint: `chmod 600 ${file}`,
  };
}
