import { test } from "node:test";
import { collector } from "../../lib/runtime/sockets/common.ts";

test("collector() collects", () => collector()());

// As in Node.js: of Bun's global there is no way to hide it.
if ("Deno" in globalThis) {
  test("collector() collects with neither Deno nor Bun", () => {
    const hidden = Object.getOwnPropertyDescriptor(globalThis, "Deno")!;
    Reflect.deleteProperty(globalThis, "Deno");
    try {
      collector()();
    } finally {
      Object.defineProperty(globalThis, "Deno", hidden);
    }
  });
}
