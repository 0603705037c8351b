/** node:fs, loaded when it is used: it takes a client under Deno a tenth of its time. */

import process from "node:process";

export function fs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}
