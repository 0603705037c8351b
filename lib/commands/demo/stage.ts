/** Where the demo plays: its folder, its server and its client. */

import { join } from "node:path";
import { formatEnrolment } from "../../client/profile/enrolment.ts";
import { formatConfig } from "../../config/files/write.ts";
import { publicKeyOf } from "../../dialects/crypto/curve25519.ts";
import { drawKnockKeys } from "../../dialects/knock1/keys.ts";
import type { Child, Runtime } from "../../runtime/runtime.ts";
import { type Endpoint, formatEndpoint } from "../../values/address.ts";
import { formatBase64url } from "../../values/bytes.ts";
import { FailureError } from "../../values/errors.ts";
import { hear, serveGreeting } from "./service.ts";
import type { NewService } from "../../config/config.ts";
import { onePort } from "../../values/ports.ts";

/** A place for the demo, with everything started. */
export interface Stage {
  /** The stage in a line. */
  readonly words: string;
  /** True if {@linkcode reach} can come from another address. */
  readonly hasNeighbour: boolean;
  /** Reads the service's text; null when it is closed. */
  reach(fromNeighbour: boolean): Promise<string | null>;
  /** Runs the client; its exit status. */
  knock(): Promise<number | null>;
  /** Output of the server and the client so far. */
  log(): string;
  /** Ends and removes all of it. */
  remove(): Promise<void>;
}

/** Options of the demo's server. */
interface DemoServer {
  readonly backend: "nft" | "gate";
  readonly service: NewService;
  /** Where the client knocks. */
  readonly host: string;
  readonly port: number;
  readonly seconds: number;
}

/** Writes configuration, keys and the client's profile into a folder. */
export function writeDemo(
  runtime: Runtime,
  folder: string,
  server: DemoServer,
): string {
  const { files } = runtime;
  const key = runtime.random(32);
  const { privateKey, ...keys } = drawKnockKeys(runtime);
  const text = formatConfig({
    port: server.port,
    backend: server.backend,
    mode: "guard",
    services: [server.service],
    clients: [{
      name: "visitor",
      ...keys,
      open: [server.service.name],
      forSeconds: server.seconds,
    }],
  });
  files.create(join(folder, "server.yaml"), text, 0o600);
  files.create(join(folder, "server.key"), `${formatBase64url(key)}\n`, 0o600);
  return formatEnrolment({
    host: server.host,
    port: server.port,
    server: publicKeyOf(key),
    key: privateKey,
    psk: keys.psk,
    name: "visitor",
  });
}

/** The demo's processes: the program itself, in the namespace that `wrap` enters. */
export class DemoProcesses {
  readonly #runtime: Runtime;
  readonly #folder: string;
  readonly #children: Child[] = [];
  #said = "";

  constructor(runtime: Runtime, folder: string) {
    this.#runtime = runtime;
    this.#folder = folder;
  }

  get said(): string {
    return this.#said.trim();
  }

  /** Starts `knock` with these arguments; resolves when it prints `ready`. */
  async start(
    wrap: readonly string[],
    args: readonly string[],
    ready: string,
  ): Promise<void> {
    const argv = [...wrap, ...this.#runtime.selfCommand(), ...args];
    const child = this.#runtime.spawn(argv);
    this.#children.push(child);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const heard = [child.stdout, child.stderr].map((stream) =>
      this.#listen(stream, ready, resolve)
    );
    // What it said last comes after its end.
    const ended = Promise.all([child.ended, ...heard]);
    ended.then(() => resolve(false));
    if (await promise) return;
    const [status] = await ended;
    throw new FailureError(
      `the demo's ${args[0]} did not start: it ended with ${
        status ?? "a signal"
      }`,
      this.said || `see what it says by itself: ${argv.join(" ")}`,
    );
  }

  /** Runs `knock` with these arguments to its end. */
  async run(
    wrap: readonly string[],
    args: readonly string[],
    stdin?: string,
  ): Promise<{ code: number | null; stdout: string }> {
    const argv = [...wrap, ...this.#runtime.selfCommand(), ...args];
    const ran = await this.#runtime.run(argv, {
      env: {
        KNOCK_PROFILES: join(this.#folder, "profiles.yaml"),
        // What the client remembers goes with the folder.
        XDG_STATE_HOME: this.#folder,
        LOCALAPPDATA: this.#folder,
      },
      ...(stdin !== undefined && { stdin }),
    });
    this.#said += ran.stderr;
    return ran;
  }

  async end(): Promise<void> {
    for (const child of this.#children) child.kill("SIGTERM");
    await Promise.all(this.#children.map((child) => child.ended));
  }

  async #listen(
    stream: AsyncIterable<Uint8Array>,
    ready: string,
    resolve: (ready: boolean) => void,
  ): Promise<void> {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      this.#said += decoder.decode(bytes, { stream: true });
      if (this.#said.includes(ready)) resolve(true);
    }
  }
}

/** The demo over loopback, with the gate. */
export async function stageHere(
  runtime: Runtime,
  seconds: number,
): Promise<Stage> {
  const host = "127.0.0.1";
  const folder = runtime.files.makeTemporaryFolder();
  const processes = new DemoProcesses(runtime, folder);
  const hidden = await serveGreeting(runtime, `${host}:0`);
  const remove = async () => {
    await processes.end();
    await hidden.close();
    runtime.files.removeFolder(folder);
  };
  try {
    const gate = await freeStreamPort(runtime, host);
    const port = await freeDatagramPort(runtime, host);
    const enrolment = writeDemo(runtime, folder, {
      backend: "gate",
      service: {
        name: "hello",
        ports: [onePort("tcp", gate)],
        to: hidden.at,
      },
      host,
      port,
      seconds,
    });
    const config = join(folder, "server.yaml");
    await processes.start([], ["serve", "--config", config], "listens on");
    await processes.run([], ["import", "-"], enrolment);
    const at: Endpoint = { host, port: gate };
    return {
      words: `a server, its gate at ${formatEndpoint(at)}, and a client:`,
      hasNeighbour: false,
      reach: () => hear(runtime, formatEndpoint(at)),
      knock: async () => (await processes.run([], ["send", "visitor"])).code,
      log: () => processes.said,
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function freeStreamPort(runtime: Runtime, host: string) {
  const listener = await runtime.listenStream({ host, port: 0 }, () => {});
  await listener.close();
  return listener.at.port;
}

async function freeDatagramPort(runtime: Runtime, host: string) {
  const socket = await runtime.listenDatagram({ host, port: 0 }, () => {});
  await socket.close();
  return socket.at.port;
}
