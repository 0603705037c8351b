/** A system that boots: systemd as PID 1 in a container, in a network namespace of the test's. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { type Pair, until } from "../../tests/netns/netns.ts";
import { run } from "./build.ts";

/** Absent: the mirror that debootstrap takes by itself. */
const MIRROR = process.env["KNOCK_DEBIAN_MIRROR"];
/** Folder that keeps the systems, one for each suite, for the next time. */
const KEPT = process.env["KNOCK_BOOT_ROOTS"];

const PACKAGES = ["systemd-sysv", "nftables", "iproute2", "procps"];

/** Brings the cable up when a network service would: not before the guard. */
const UPLINK = `[Unit]
DefaultDependencies=no
After=network-pre.target
Wants=network-pre.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip link set lo up
ExecStart=/sbin/ip link set eth0 up
[Install]
WantedBy=multi-user.target
`;

/** A system in its folder, off or running. */
export class Machine {
  readonly #scratch = mkdtempSync(join(tmpdir(), "knock-boot-"));
  readonly root = join(this.#scratch, "root");
  readonly #pair: Pair;
  #container: ChildProcess | null = null;
  #leader = "";

  constructor(pair: Pair) {
    this.#pair = pair;
  }

  /** Makes the system of a Debian suite, with some more packages. */
  make(suite: string, packages: readonly string[] = []): void {
    const kept = join(KEPT ?? this.#scratch, [suite, ...packages].join("-"));
    if (!existsSync(join(kept, "usr/bin/dpkg"))) {
      run("debootstrap", [
        "--variant=minbase",
        `--include=${PACKAGES.join()}`,
        suite,
        kept,
        ...(MIRROR ? [MIRROR] : []),
      ]);
      // Not by debootstrap, which does not configure them in their order.
      if (packages.length > 0) {
        const install = [
          "apt-get",
          "install",
          "-y",
          "-qq",
          "--no-install-recommends",
        ];
        run("chroot", [
          kept,
          "env",
          "DEBIAN_FRONTEND=noninteractive",
          ...install,
          ...packages,
        ]);
      }
    }
    run("cp", ["-a", kept, this.root]);
    writeFileSync(
      join(this.root, "etc/systemd/system/uplink.service"),
      UPLINK,
    );
    run("systemctl", ["--root", this.root, "enable", "uplink.service"]);
  }

  /** Copies a file into /root. */
  bring(path: string): void {
    copyFileSync(path, join(this.root, "root", basename(path)));
  }

  /** Boots; resolves when systemd runs there. The cable is down until it brings it up. */
  async boot(): Promise<void> {
    const { server } = this.#pair;
    run("ip", ["-n", server, "link", "set", "eth0", "down"]);
    const container = spawn("systemd-nspawn", [
      ...["--quiet", "--boot", "--register=no", "--keep-unit"],
      ...["--directory", this.root, "--kill-signal=SIGRTMIN+3"],
      // What a machine of its own has, and a container has not.
      "--capability=CAP_NET_ADMIN,CAP_BPF",
      "--system-call-filter=bpf",
      `--network-namespace-path=/run/netns/${server}`,
    ], { stdio: ["ignore", "ignore", "inherit"] });
    this.#container = container;
    await until("the system boots", () => {
      if (container.exitCode !== null) throw new Error("systemd-nspawn ended");
      const { pid } = container;
      const children = `/proc/${pid}/task/${pid}/children`;
      this.#leader = readFileSync(children, "utf8").trim();
      return this.#leader !== "" && this.#enter("test -S /run/systemd/private")
            .status === 0;
    });
  }

  /** Waits until every job of the boot is done. */
  async booted(): Promise<void> {
    await until(
      "the boot is complete",
      () =>
        !/starting|init/.test(
          this.#enter("systemctl is-system-running").stdout,
        ),
    );
  }

  /** Runs a script of the shell there; throws unless it ends with 0. */
  run(script: string): string {
    const { status, stdout, stderr } = this.#enter(script);
    if (status === 0) return stdout;
    throw new Error(`${script}\nends with ${status}:\n${stdout}${stderr}`);
  }

  #enter(script: string) {
    return spawnSync("nsenter", [
      ...["--target", this.#leader, "--mount", "--net", "--pid", "--uts"],
      ...["--ipc", "env", "-i", "HOME=/root", "LC_ALL=C"],
      ...["DEBIAN_FRONTEND=noninteractive"],
      ...["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-euc", script],
    ], { encoding: "utf8" });
  }

  /** Shuts down. The ruleset goes, as it goes with a kernel. */
  async stop(): Promise<void> {
    const container = this.#container;
    if (!container) return;
    this.#container = null;
    const { server } = this.#pair;
    run("ip", ["-n", server, "link", "set", "eth0", "down"]);
    const ended = new Promise((resolve) => container.once("close", resolve));
    container.kill("SIGTERM");
    await ended;
    run("ip", ["netns", "exec", server, "nft", "flush", "ruleset"]);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.#scratch, { recursive: true, force: true });
  }
}
