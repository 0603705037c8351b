/** The running server's reload, after a change of its clients. */

import type { Config } from "../../config/config.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { ReloadFact } from "../../server/report/reports.ts";
import { openExistingStore, serverUsing } from "../../server/state/store.ts";
import { FailureError, OperatorError } from "../../values/errors.ts";

/** Longest wait for the server's word, milliseconds, and the pause between looks. */
const WAIT_MS = 10_000;
const PAUSE_MS = 20;

/**
 * Has the running server read its configuration again, and prints that it has;
 * a hint where none runs. Returns the exit status; throws FailureError if the
 * server cannot use what it read.
 */
export async function reloadServer(
  runtime: Runtime,
  { state }: Config,
): Promise<number> {
  try {
    const pid = runtime.platform === "windows"
      ? 0
      : await serverUsing(runtime, state);
    if (pid === null) {
      runtime.err(
        "knock: hint: no server is running: start it with `knock serve`, or " +
          "`systemctl start knock`\n",
      );
      return 0;
    }
    const words = pid === 0 ? null : await reload(runtime, state, pid);
    if (words !== null) {
      runtime.err(`${words}\n`);
      return 0;
    }
  } catch (error) {
    // The state is another user's: only that user's server knows.
    if (!(error instanceof OperatorError) || error instanceof NotReloaded) {
      throw error;
    }
  }
  runtime.err(
    runtime.platform === "windows"
      ? "knock: hint: restart a running server to apply it\n"
      : "knock: hint: have a running server reload it: `systemctl reload " +
        "knock`, or `kill -HUP`\n",
  );
  return 0;
}

/** The server has read the configuration and cannot use it. */
class NotReloaded extends FailureError {}

/** Words for the reload that a server has done; null if it has not answered. */
async function reload(
  runtime: Runtime,
  state: string,
  pid: number,
): Promise<string | null> {
  const store = await openExistingStore(runtime, state);
  if (!store) return null;
  try {
    const look = () => (store.fact("reload") ?? null) as ReloadFact | null;
    const before = look()?.count ?? 0;
    runtime.signalProcess(pid, "SIGHUP");
    const endMs = runtime.monotonicMs() + WAIT_MS;
    while (runtime.monotonicMs() < endMs) {
      await runtime.sleep(PAUSE_MS);
      const now = look();
      if (!now || now.count === before) continue;
      if (now.mistake === null) {
        return `the running server (process ${pid}) has reloaded`;
      }
      throw new NotReloaded(
        `the running server (process ${pid}) did not reload: ${now.mistake}`,
        "`knock check`, then `systemctl reload knock`",
      );
    }
    return null;
  } finally {
    store.close();
  }
}
