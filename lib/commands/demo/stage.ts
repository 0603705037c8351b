/** Where the demo plays: its folder, its server, its client, and a service that sends a line of text. */

import { join } from "node:path";
import { formatEnrolment } from "../../client/profile/enrolment.ts";
import { formatConfig } from "../../config/files/write.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { drawKnockKeys } from "../../dialects/knock1/keys.ts";
import type { Child, Listener, Ran, Runtime } from "../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { failing, FailureError, orNull } from "../../values/errors.ts";
import { onePort } from "../../values/ports.ts";

/** Duration of the demo's grant. */
export const OPEN_SECONDS = 2;

/** Text that the hidden service sends. */
const GREETING = "hello from the hidden service";

/** Longest wait of a visitor: a dropped packet is never answered. */
const PATIENCE_MS = 700;

/** Serves the greeting at an endpoint, until the process ends or the listener is closed. */
export function serveGreeting(
  runtime: Runtime,
  at: Endpoint,
): Promise<Listener> {
  return runtime.listenStream(at, async (connection) => {
    try {
      await connection.write(new TextEncoder().encode(GREETING));
      await connection.finish();
    } catch {
      connection.close(); // the visitor went away
    }
  });
}

/** Reads the text that an endpoint sends; null when it cannot be reached or sends nothing. */
export function hear(runtime: Runtime, to: Endpoint): Promise<string | null> {
  return orNull(async () => {
    const connection = await runtime.connectStream(to, {
      timeoutMs: PATIENCE_MS,
    });
    const bytes = await connection.read();
    connection.close();
    return bytes && new TextDecoder().decode(bytes);
  });
}

/** A place for the demo, with everything started. */
export type Stage = Awaited<ReturnType<typeof setStage>>;

/** A place that is prepared for the demo. */
interface Place {
  /** The stage in a line. */
  readonly words: string;
  /** True if {@linkcode reach} can come from another address. */
  readonly hasNeighbour: boolean;
  /** Reads the service's text; null when it is closed. */
  reach(fromNeighbour: boolean): Promise<string | null>;
  readonly backend: "nft" | "gate";
  /** TCP port of the service, and where the gate forwards it to. */
  readonly servicePort: number;
  readonly to: Endpoint | null;
  /** Where the client knocks. */
  readonly host: string;
  readonly port: number;
  /** Program that the server and the client are arguments of. */
  readonly inServer: readonly string[];
  readonly inClient: readonly string[];
}

/** Sets the stage in a place; `undo` undoes what `prepare` did, when it failed half-way, too. */
export async function setStage(
  runtime: Runtime,
  prepare: (processes: DemoProcesses) => Promise<Place>,
  undo: () => Promise<void>,
) {
  const folder = failing(
    "cannot make a temporary folder",
    () => runtime.files.makeTemporaryFolder(),
    "set TMPDIR to a folder that you may write to",
  );
  const processes = demoProcesses(runtime, folder);
  const remove = async () => {
    await processes.end();
    await undo();
    runtime.files.removeFolder(folder);
  };
  try {
    const place = await prepare(processes);
    const enrolment = writeDemo(runtime, folder, place);
    const serve = ["serve", "--config", join(folder, "server.yaml")];
    await processes.start(place.inServer, serve, "listens on");
    await processes.run([], ["import", "-"], enrolment);
    return {
      ...place,
      /** Runs the client. */
      knock: () => processes.run(place.inClient, ["send", "visitor"]),
      /** Output of the server and the client so far. */
      log: processes.said,
      /** Ends and removes all of it. */
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Writes configuration and keys into a folder; the client's enrolment. */
function writeDemo(runtime: Runtime, folder: string, place: Place): string {
  const { files } = runtime;
  const { backend, servicePort, to, host, port } = place;
  const key = runtime.random(32);
  const { privateKey, ...keys } = drawKnockKeys(runtime);
  const text = formatConfig({
    port,
    backend,
    mode: "guard",
    services: [{ name: "hello", ports: [onePort("tcp", servicePort)], to }],
    clients: [{
      name: "visitor",
      keys,
      open: ["hello"],
      forSeconds: OPEN_SECONDS,
    }],
  });
  files.create(join(folder, "server.yaml"), text, 0o600);
  files.create(join(folder, "server.key"), `${formatBase64url(key)}\n`, 0o600);
  return formatEnrolment({
    host,
    port,
    server: publicKeyOf(key),
    key: privateKey,
    psk: keys.psk,
    name: "visitor",
  });
}

type DemoProcesses = ReturnType<typeof demoProcesses>;

/** The demo's processes: the program itself, in the namespace that `wrap` enters. */
export function demoProcesses(runtime: Runtime, folder: string) {
  const children: Child[] = [];
  let output = "";
  const said = () => output.trim();
  return {
    said,

    /** Starts `knock` with these arguments; resolves when it prints `ready`. */
    async start(
      wrap: readonly string[],
      args: readonly string[],
      ready: string,
    ): Promise<void> {
      const argv = [...wrap, ...runtime.selfCommand(), ...args];
      const child = runtime.spawn(argv);
      children.push(child);
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const heard = [child.stdout, child.stderr].map(async (stream) => {
        const decoder = new TextDecoder();
        for await (const bytes of stream) {
          output += decoder.decode(bytes, { stream: true });
          if (output.includes(ready)) resolve(true);
        }
      });
      // What it said last comes after its end.
      const ended = Promise.all([child.ended, ...heard]);
      ended.then(() => resolve(false));
      if (await promise) return;
      const [status] = await ended;
      throw new FailureError(
        `the demo's ${args[0]} did not start: it ended with ${
          status ?? "a signal"
        }`,
        said() || `see what it says by itself: ${argv.join(" ")}`,
      );
    },

    /** Runs `knock` with these arguments to its end. */
    async run(
      wrap: readonly string[],
      args: readonly string[],
      stdin?: string,
    ): Promise<Ran> {
      const argv = [...wrap, ...runtime.selfCommand(), ...args];
      const ran = await runtime.run(argv, {
        env: {
          KNOCK_PROFILES: join(folder, "profiles.yaml"),
          // What the client remembers goes with the folder.
          XDG_STATE_HOME: folder,
          LOCALAPPDATA: folder,
        },
        ...stdin && { stdin },
      });
      output += ran.stderr;
      return ran;
    },

    async end(): Promise<void> {
      for (const child of children) child.kill("SIGTERM");
      await Promise.all(children.map((child) => child.ended));
    },
  };
}

/** The demo over loopback, with the gate. */
export async function stageHere(runtime: Runtime): Promise<Stage> {
  const host = "127.0.0.1";
  const anywhere = { host, port: 0 };
  const hidden = await serveGreeting(runtime, anywhere);
  return await setStage(runtime, async () => {
    const servicePort = await freePort(
      runtime.listenStream(anywhere, () => {}),
    );
    const at = { host, port: servicePort };
    return {
      words: `a server, its gate at ${formatEndpoint(at)}, and a client:`,
      hasNeighbour: false,
      reach: () => hear(runtime, at),
      backend: "gate",
      servicePort,
      to: hidden.at,
      host,
      port: await freePort(runtime.listenDatagram(anywhere, () => {})),
      inServer: [],
      inClient: [],
    };
  }, () => hidden.close());
}

/** The port of a listener, which is free once it is closed. */
async function freePort(listening: Promise<Listener>) {
  const listener = await listening;
  await listener.close();
  return listener.at.port;
}
