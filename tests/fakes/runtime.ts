/** The runtime that the tests run under, for those that touch the real system. */

import type { Runtime } from "../../lib/runtime/runtime.ts";

export const runtime: Runtime = "Deno" in globalThis
  ? (await import("../../lib/runtime/deno.ts")).denoRuntime
  : (await import("../../lib/runtime/bun.ts")).nodeRuntime;
