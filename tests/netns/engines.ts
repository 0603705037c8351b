/**
 * Real servers of the engines of a fleet on loopback, one of each.
 * @module
 */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineName, FleetConfig } from "../../lib/fleet/fleet.ts";
import { runtime } from "../fakes/runtime.ts";
import { kill, NATS, whyNoEngine } from "./fleet.ts";

/** Files for TLS: two authorities, and certificates of the first for 127.0.0.1, a server's and a client's. */
export interface Certificates {
  readonly ca: string;
  readonly other: string;
  readonly cert: string;
  readonly key: string;
  /** As `cert`, of the same key, but out of date. */
  readonly expired: string;
}

/** A server of an engine, which is started, stopped and emptied. */
export class EngineServer {
  readonly engine: EngineName;
  readonly port: number;
  readonly folder = mkdtempSync(join(tmpdir(), "knock-engine-"));
  /** Lines of the configuration of NATS, beside the address and JetStream. */
  readonly lines: string[] = [];
  /** More options of etcd. */
  readonly options: string[] = [];
  program = NATS;
  isSafe = false;
  #child: ChildProcess | null = null;

  private constructor(engine: EngineName, port: number) {
    this.engine = engine;
    this.port = port;
  }

  static async make(engine: EngineName): Promise<EngineServer> {
    return new EngineServer(engine, await freePort());
  }

  get address(): string {
    const schemes = this.engine === "etcd"
      ? ["http", "https"]
      : ["nats", "tls"];
    return `${schemes[this.isSafe ? 1 : 0]}://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const data = join(this.folder, "data");
    if (this.engine === "etcd") {
      const peer = `http://127.0.0.1:${await freePort()}`;
      // deno-fmt-ignore
      this.#spawn([
        "etcd", "--name", "n1", "--data-dir", data, "--log-level", "error",
        "--listen-client-urls", this.address, "--advertise-client-urls", this.address,
        "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
        "--initial-cluster", `n1=${peer}`, ...this.options,
      ]);
    } else {
      const file = join(this.folder, "nats.conf");
      writeFileSync(
        file,
        [
          `listen: "127.0.0.1:${this.port}"`,
          "server_name: n1",
          `jetstream { store_dir: "${data}"${
            // Debian's does not know it.
            whyNoEngine("nats") === null ? ", sync_interval: always" : ""} }`,
          ...this.lines,
        ].join("\n"),
      );
      this.#spawn([this.program, "-c", file]);
    }
  }

  #spawn([program, ...args]: readonly string[]): void {
    this.#child = spawn(program!, args, { stdio: "ignore" });
  }

  async stop(): Promise<void> {
    if (this.#child) await kill(this.#child, "SIGKILL");
  }

  empty(): void {
    rmSync(join(this.folder, "data"), { recursive: true, force: true });
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The section of a configuration for this server; `over` is what it has else. */
  config(over: Partial<FleetConfig> = {}): FleetConfig {
    return {
      ...{ engine: this.engine, servers: [this.address], name: "gw1" },
      ...{ prefix: "knock/test", secret: new Uint8Array(32).fill(3) },
      ...{ tls: { ca: null, cert: null, key: null }, user: null, token: null },
      ...{ credentials: null, without: "refuse", staleMs: 3_600_000, ...over },
    };
  }

  /** Makes certificates in the folder. */
  makeCertificates(): Certificates {
    const folder = join(this.folder, "tls");
    mkdirSync(folder);
    const path = (name: string) => join(folder, name);
    const must = (...[program, ...args]: string[]) => {
      const { status, stderr } = spawnSync(program!, args, {
        encoding: "utf8",
      });
      if (status !== 0) throw new Error(stderr);
    };
    const openssl = (...args: string[]) => must("openssl", ...args);
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
    for (const name of ["ca", "other"]) {
      // deno-fmt-ignore
      openssl(
        "req", "-x509", ...curve, "-nodes", "-days", "2", "-subj", `/CN=${name}`,
        "-keyout", path(`${name}.key`), "-out", path(`${name}.pem`),
      );
    }
    // deno-fmt-ignore
    openssl(
      "req", "-x509", ...curve, "-nodes", "-days", "2", "-subj", "/CN=gw1",
      "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
      "-CA", path("ca.pem"), "-CAkey", path("ca.key"),
      "-keyout", path("gw1.key"), "-out", path("gw1.pem"),
    );
    // deno-fmt-ignore
    must(
      "faketime", "-f", "-9d", "openssl",
      "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=gw1", "-key", path("gw1.key"),
      "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
      "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-out", path("expired.pem"),
    );
    return {
      ...{ ca: path("ca.pem"), other: path("other.pem") },
      ...{ cert: path("gw1.pem"), key: path("gw1.key") },
      expired: path("expired.pem"),
    };
  }
}

async function freePort(): Promise<number> {
  const listener = await runtime.listenStream(
    { host: "127.0.0.1", port: 0 },
    () => {},
  );
  await listener.close();
  return listener.at.port;
}
