/**
 * node: modules that are loaded when they are used: these two take a client
 * under Deno a tenth of its time.
 * @module
 */

import process from "node:process";

export function fs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

export function os(): typeof import("node:os") {
  return process.getBuiltinModule("node:os");
}
