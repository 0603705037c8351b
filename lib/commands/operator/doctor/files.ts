/** The state folder: who can use it, and whether it holds a state that can be read. */

import { type Runtime, SystemError } from "../../../runtime/runtime.ts";
import { OperatorError } from "../../../values/errors.ts";
import type { DoorFact } from "../../../server/doors/doors.ts";
import type { ServerFact } from "../../../server/report/reports.ts";
import { openExistingStore } from "../../../server/state/store.ts";
import type { ServerState } from "./server.ts";
import { bad, type Finding, ok, unknown, warn } from "./finding.ts";

/** Permission bits of others than the owner. */
const OTHERS = 0o077;

/** What the state says, and what is wrong with it. */
export interface StateLook {
  readonly findings: readonly Finding[];
  /** Null: nobody could look. */
  readonly state: ServerState | null;
}

/** Looks at the state folder and, where it may, into the state. */
export async function checkState(
  runtime: Runtime,
  folder: string,
): Promise<StateLook> {
  const none: ServerState = { server: null, counters: {} };
  try {
    const found = runtime.files.stat(folder);
    if (!found) {
      const text = `state folder ${folder}: the server makes it at its start`;
      return { findings: [ok(text)], state: none };
    }
    if (!found.isFolder) {
      const text = `state folder ${folder} is a file`;
      return {
        findings: [bad(text, `mv ${folder} ${folder}.bad`)],
        state: null,
      };
    }
    const findings: Finding[] = [];
    const userId = runtime.userId();
    if (((found.mode ?? 0) & OTHERS) !== 0) {
      const mode = (found.mode! & 0o777).toString(8);
      findings.push(warn(
        `state folder ${folder}: others can look into it (mode 0${mode})`,
        `chmod 700 ${folder}`,
      ));
    }
    if (userId !== null && userId !== 0 && userId !== found.owner) {
      findings.push(unknown(
        `state folder ${folder} belongs to user id ${found.owner}, this is ${userId}`,
        "run it as that user, or as root",
      ));
      return { findings, state: null };
    }
    const store = await openExistingStore(runtime, folder);
    if (!store) {
      findings.push(ok(`state folder ${folder}: empty`));
      return { findings, state: none };
    }
    const fact = (store.fact("server") ?? null) as ServerFact | null;
    const alive = fact !== null && runtime.signalProcess(fact.pid, "test");
    const counters = (store.fact("counters") ?? {}) as ServerState["counters"];
    const doors = (store.fact("doors") ?? []) as readonly DoorFact[];
    store.close();
    findings.push(ok(`state folder ${folder}: can be read and written`));
    const server = alive ? fact : null;
    return { findings, state: { server, counters, doors } };
  } catch (error) {
    if (error instanceof OperatorError) {
      return { findings: [bad(error.message, error.hint)], state: null };
    }
    if (!(error instanceof SystemError)) throw error;
    const text = `state folder ${folder}: ${error.message}`;
    return { findings: [unknown(text, "run it as root")], state: null };
  }
}
