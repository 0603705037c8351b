import { test } from "node:test";
import { assert, assertThrows } from "@std/assert";
import { parseConfig } from "../lib/config/parse.ts";
import { ConfigError } from "../lib/values/errors.ts";

const waiting: [path: string, text: string][] = [
  ["metrics", `metrics: "127.0.0.1:9162"`],
];

for (const [path, text] of waiting) {
  test(`notYetSupported() refuses ${path}`, () => {
    const { mistakes } = assertThrows(
      () =>
        parseConfig(`listen: 62201\n${text}`, {
          file: "server.yaml",
          readKey: () => new Uint8Array(32).fill(1),
          readCode: () => new Uint8Array(10),
          stateFolder: () => "/state",
        }),
      ConfigError,
    );
    const wanted = `server.yaml: ${path}: not yet supported by this version`;
    assert(mistakes.includes(wanted), mistakes.join("\n"));
  });
}
