/** What a program of this machine prints, where it can be asked. */

import { type Runtime, SystemError } from "../../runtime/runtime.ts";

/** The standard output of a program; null where it fails or is not installed. */
export async function listing(
  runtime: Runtime,
  argv: readonly string[],
  timeoutMs: number,
): Promise<string | null> {
  try {
    const ran = await runtime.run(argv, { env: { LC_ALL: "C" }, timeoutMs });
    return ran.code === 0 ? ran.stdout : null;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return null;
  }
}
