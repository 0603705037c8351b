/**
 * Docker as it is delivered, with an image made from nothing but busybox: a
 * published port is guarded like one of the host's own, whatever Docker does.
 */

import { assert, assertEquals } from "@std/assert";
import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { CLIENTS, netnsTest, type Pair, until } from "../netns/netns.ts";
import { Program } from "../netns/program.ts";
import { closes, HERE, opensByKnock, staysOpen, Watch } from "./stage.ts";

const PORT = 8080;
const BUSYBOX = "/bin/busybox";
const PROGRAMS = ["dockerd", "docker", "nsenter", "iptables", "tar", BUSYBOX];

/** A Docker daemon in the server's namespace, with files of its own. */
class Docker {
  readonly #folder = mkdtempSync(join(tmpdir(), "knock-docker-"));
  readonly #pair: Pair;
  #daemon: ChildProcess | null = null;
  #log = "";

  constructor(pair: Pair) {
    this.#pair = pair;
  }

  async start(): Promise<void> {
    const at = (name: string) => join(this.#folder, name);
    // Not by `ip netns exec`: that hides the cgroups.
    // deno-fmt-ignore
    const daemon = spawn("nsenter", [
      `--net=/run/netns/${this.#pair.server}`, "dockerd",
      "--data-root", at("data"), "--exec-root", at("exec"),
      "--pidfile", at("pid"), "--host", `unix://${at("sock")}`,
    ], { stdio: ["ignore", "ignore", "pipe"] });
    this.#daemon = daemon;
    daemon.stderr!.on("data", (text) => this.#log += text);
    await until("dockerd answers", async () => {
      if (daemon.exitCode !== null) throw new Error(`no dockerd: ${this.#log}`);
      return (await this.#docker(["info"])).code === 0;
    });
  }

  /** Makes the image: busybox, and a page. */
  async makeImage(): Promise<void> {
    const image = join(this.#folder, "image");
    mkdirSync(join(image, "www"), { recursive: true });
    copyFileSync(BUSYBOX, join(image, "busybox"));
    await this.#must([
      "sh",
      "-c",
      'tar -C "$0" -c . | docker import -c \'ENTRYPOINT ["/busybox"]\' - web',
      image,
    ]);
  }

  async run(): Promise<void> {
    // deno-fmt-ignore
    await this.#must(["docker", "run", "-d", "--name", "web",
      "--stop-signal",
      "KILL",
      "--restart", "always", "-p", `${PORT}:80`, "web", "httpd", "-f", "-p", "80", "-h", "/www"]);
  }

  restartContainer(): Promise<void> {
    return this.#must(["docker", "restart", "-t", "0", "web"]);
  }

  reload(): void {
    process.kill(this.#daemon!.pid!, "SIGHUP");
  }

  async stop(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = null;
    if (!daemon || daemon.exitCode !== null) return;
    const ended = new Promise((resolve) => daemon.once("exit", resolve));
    process.kill(daemon.pid!, "SIGTERM");
    await ended;
  }

  async remove(): Promise<void> {
    if (this.#daemon) await this.#docker(["rm", "-f", "web"]);
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #must(argv: readonly string[]): Promise<void> {
    const { code, said } = await this.#call(argv);
    assertEquals(code, 0, `${argv.join(" ")}: ${said}\n${this.#log}`);
  }

  #docker(args: readonly string[]) {
    return this.#call(["docker", ...args]);
  }

  #call(
    argv: readonly string[],
  ): Promise<{ code: number | null; said: string }> {
    return new Promise((resolve, reject) => {
      const child = spawn(argv[0]!, argv.slice(1), {
        stdio: ["ignore", "pipe", "pipe"],
        env: {
          ...process.env,
          DOCKER_HOST: `unix://${join(this.#folder, "sock")}`,
        },
      });
      let said = "";
      child.stdout!.on("data", (text) => said += text);
      child.stderr!.on("data", (text) => said += text);
      child.on("error", reject);
      child.on("close", (code) => resolve({ code, said }));
    });
  }
}

for (const backend of ["nft", "iptables"] as const) {
  netnsTest(
    `Docker and ${backend}: a published port is closed, opens by a knock, and is never open to others`,
    async (pair) => {
      const program = new Program(pair);
      const docker = new Docker(pair);
      try {
        await pair.cableUp();
        program.configure(
          `firewall: { backend: ${backend}, interfaces: [eth0] }\n` +
            `services: { web: tcp/${PORT} }`,
          [{
            name: "alice",
            policy: ["open: [web]", "for: 10m", "any_address: true"],
          }],
        );
        await program.enrol("alice");
        await program.serve();
        const watch = await Watch.start(pair, PORT);
        await docker.start();
        await docker.makeImage();
        await docker.run();
        await opensByKnock(program, pair, PORT);
        assert(!await pair.canReach(CLIENTS[6][1], PORT), "by IPv6, too");

        await docker.restartContainer();
        await staysOpen(pair, PORT);
        docker.reload();
        await staysOpen(pair, PORT);
        await docker.stop();
        await docker.start();
        await staysOpen(pair, PORT);

        await program.signal("SIGKILL");
        await program.serve();
        await staysOpen(pair, PORT);
        await closes(program, pair, PORT);
        await docker.restartContainer();
        assert(!await pair.canReach(HERE, PORT), "closed");
        await watch.neverOpen();
      } finally {
        await docker.remove();
        program.remove();
      }
    },
    PROGRAMS,
  );
}
