import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { systemError } from "../../lib/runtime/errors.ts";

const cases: [name: string, thrown: unknown, code: string, words: string][] = [
  [
    "Deno's of a file",
    Object.assign(new Error("No such file or directory (os error 2)"), {
      name: "NotFound",
    }),
    "ENOENT",
    "no such file or directory",
  ],
  [
    "Deno's of a program",
    Object.assign(new Error("Failed to spawn 'x': entity not found"), {
      name: "NotFound",
    }),
    "ENOENT",
    "no such file or directory",
  ],
  [
    "a name without a name server",
    Object.assign(new Error("getaddrinfo EAI_AGAIN home.example.org"), {
      code: "EAI_AGAIN",
    }),
    "EAI_AGAIN",
    "no name server answers",
  ],
  [
    "a name that is not there",
    Object.assign(new Error("getaddrinfo ENOTFOUND home.example.org"), {
      code: "ENOTFOUND",
    }),
    "ENOTFOUND",
    "there is no such name",
  ],
  [
    "Bun's of a folder",
    Object.assign(
      new Error("EISDIR: illegal operation on a directory, read"),
      { code: "EISDIR" },
    ),
    "EISDIR",
    "illegal operation on a directory",
  ],
  [
    "Node's",
    Object.assign(new Error("EACCES: permission denied, open '/a'"), {
      code: "EACCES",
    }),
    "EACCES",
    "permission denied",
  ],
];

for (const [name, thrown, code, words] of cases) {
  test(`systemError() of ${name} says "${words}"`, () => {
    const error = systemError(thrown);
    assertEquals([error.code, error.message], [code, words]);
  });
}
