/**
 * The Debian package on a system that boots, with systemd as PID 1: closed from
 * the first packet on, over reboots, upgrades, crashes, a full disk, and gone
 * when it is purged. A service listens all the time, and another machine looks.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { VERSION } from "../../lib/values/program.ts";
import { CLIENTS, Pair, SERVER, until } from "../../tests/netns/netns.ts";
import { build, MACHINE, run, whyNot } from "./build.ts";
import { Machine } from "./machine.ts";

const SUITES = ["bookworm", "trixie"];
const [HERE, NEIGHBOUR] = CLIENTS[4];
/** The guarded port, and one that anybody may reach: that the looks are no empty ones. */
const SSH = 22;
const WEB = 80;
/** Looks at the guarded port after the network is there. */
const LOOKS = 20;

const skip =
  whyNot(["debootstrap", "systemd-nspawn", "nsenter", "ip", "nft"]) ??
    false;
const machine = MACHINE === "linux-arm64" ? "arm64" : "amd64";
const deb = `knock_${VERSION}_${machine}.deb`;

/** One suite's system, its package and a client beside it. */
class Stage {
  readonly pair = new Pair();
  readonly system = new Machine(this.pair);
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async make(suite: string, packages: readonly string[] = []): Promise<void> {
    await this.pair.make();
    await this.pair.serve("tcp", SSH, WEB);
    this.system.make(suite, packages);
    this.system.bring(join(this.#folder, deb));
    await this.system.boot();
    await this.system.booted();
  }

  /** Writes a configuration with a client, which is imported here. */
  enrol(): void {
    const folder = this.#folder;
    this.system.run("knock init --backend nft --service ssh=tcp/22");
    const line = this.system.run(
      `knock client add home --server ${SERVER[4]}`,
    );
    writeFileSync(join(folder, "line"), line);
    run("sh", ["-c", `"$0" import - --profiles "$1" <"$2"`, ...[
      join(folder, `knock-${MACHINE}`),
      join(folder, "profiles.yaml"),
      join(folder, "line"),
    ]]);
  }

  /** Runs the client's program. */
  knock(...args: string[]) {
    return this.pair.exec(this.pair.client, [
      "env",
      `KNOCK_PROFILES=${join(this.#folder, "profiles.yaml")}`,
      join(this.#folder, `knock-${MACHINE}`),
      ...args,
    ]);
  }

  async opened(): Promise<void> {
    const said = await this.knock("home", "--for", "5s");
    assertEquals(said.code, 0, said.stderr);
    assert(await this.pair.canReach(HERE, SSH), "open after a knock");
    assert(!await this.pair.canReach(NEIGHBOUR, SSH), "closed to a neighbour");
  }

  /** Looks at the guarded port until the other one is reached, and some times more. */
  async looksClosed(when: string): Promise<void> {
    let left = LOOKS;
    await until(`${when}: the network is there`, async () => {
      assert(!await this.pair.canReach(HERE, SSH), `${when}: open`);
      if (await this.pair.canReach(HERE, WEB)) left--;
      return left === 0;
    });
  }

  /** A reboot with looks all the time. */
  async reboots(when: string): Promise<void> {
    await this.system.stop();
    await this.system.boot();
    await this.looksClosed(when);
    await this.system.booted();
    await this.pair.shuts(HERE, SSH);
    assertEquals(
      this.system.run("systemctl is-active knock knock-guard"),
      "active\nactive\n",
    );
    await this.opened();
    await this.pair.shuts(HERE, SSH);
  }

  async remove(): Promise<void> {
    await this.system.remove();
    await this.pair.remove();
  }
}

for (const suite of SUITES) {
  test(`the package on ${suite}: closed at every look`, { skip }, async () => {
    const { folder } = build(`${MACHINE},deb`);
    const stage = new Stage(folder);
    const { system, pair } = stage;
    try {
      await stage.make(suite);

      system.run(`dpkg -i /root/${deb}`);
      await pair.opens(HERE, SSH);
      stage.enrol();
      system.run("systemctl enable --now knock-guard knock");
      await pair.shuts(HERE, SSH);
      await stage.opened();
      await pair.shuts(HERE, SSH);

      await stage.reboots("a reboot");
      // /etc/nftables.conf of Debian begins with "flush ruleset".
      system.run(
        "grep -q '^flush ruleset' /etc/nftables.conf && systemctl enable nftables",
      );
      await stage.reboots("a reboot with nftables.service");
      system.run("systemctl reload knock");
      await stage.looksClosed("a reload");

      // An upgrade: the grant stays, and nobody else gets in.
      assertEquals((await stage.knock("home", "--for", "10m")).code, 0);
      system.run(`dpkg -i /root/${deb}`);
      assert(await pair.canReach(HERE, SSH), "a grant outlives an upgrade");
      assert(!await pair.canReach(NEIGHBOUR, SSH), "for its client alone");
      await until(
        "the new server runs",
        () => system.run("systemctl is-active knock || true") === "active\n",
      );
      assertEquals((await stage.knock("close", "home")).code, 0);
      await stage.looksClosed("an upgrade");

      // A crash loop: it cannot start, and stays closed.
      system.run(`cp -p /etc/knock/server.yaml /root/good.yaml
        echo 'nonsense: 1' >>/etc/knock/server.yaml
        systemctl kill --signal KILL knock`);
      await stage.looksClosed("a crash loop");
      await until(
        "it was started again and again",
        () => Number(system.run("systemctl show -P NRestarts knock")) >= 2,
      );
      system.run(`cp /root/good.yaml /etc/knock/server.yaml
        systemctl reset-failed knock || true
        systemctl restart knock`);
      await stage.opened();
      await pair.shuts(HERE, SSH);

      // A full disk: what cannot be recorded is not opened.
      system.run(`systemctl stop knock
        mount -t tmpfs -o size=512k none /var/lib/knock
        systemctl start knock
        dd if=/dev/zero of=/var/lib/knock/full bs=1k 2>/dev/null || true`);
      const said = await stage.knock("home", "--tries", "1");
      assertEquals(said.code, 1, said.stdout + said.stderr);
      await stage.looksClosed("a full disk");
      system.run("rm /var/lib/knock/full");
      await stage.opened();
      await pair.shuts(HERE, SSH);
      system.run("systemctl stop knock; umount /var/lib/knock");
      await stage.looksClosed("a server that was stopped");

      system.run("dpkg -P knock");
      assert(await pair.canReach(HERE, SSH), "purging leaves nothing closed");
      assertEquals(
        system.run("nft list tables | grep -c knock || true").trim(),
        "0",
      );
      await system.stop();
      await system.boot();
      await system.booted();
      await pair.opens(HERE, SSH);
    } finally {
      await stage.remove();
      rmSync(folder, { recursive: true });
    }
  });
}

/** Firewalls of others, and how an admin sets them up to let both ports and the knocks in. */
const NEIGHBOURS = {
  ufw: `ufw allow ${SSH}/tcp
    ufw allow ${WEB}/tcp
    ufw allow 62201/udp
    ufw --force enable
    systemctl enable ufw`,
  firewalld: `systemctl enable --now firewalld
    firewall-cmd --permanent --add-port=${WEB}/tcp --add-port=62201/udp
    firewall-cmd --reload`,
};

for (const suite of SUITES) {
  for (const [name, setup] of Object.entries(NEIGHBOURS)) {
    // Bookworm's does not start in a container; tests/neighbours has it.
    if (suite === "bookworm" && name === "firewalld") continue;
    test(
      `the package on ${suite} beside ${name}: closed at every look`,
      { skip },
      async () => {
        const { folder } = build(`${MACHINE},deb`);
        const stage = new Stage(folder);
        const { system, pair } = stage;
        try {
          await stage.make(suite, [name]);
          system.run(setup);
          await pair.opens(HERE, SSH);
          system.run(`dpkg -i /root/${deb}`);
          stage.enrol();
          system.run("systemctl enable --now knock-guard knock");
          await pair.shuts(HERE, SSH);
          await stage.opened();
          await pair.shuts(HERE, SSH);
          await stage.reboots(`a reboot beside ${name}`);
          system.run(`systemctl restart ${name}`);
          await stage.looksClosed(`a restart of ${name}`);
          await stage.opened();
          await pair.shuts(HERE, SSH);
          // The one that is asked when it starts: the guard was first.
          await stage.reboots(`another reboot beside ${name}`);
        } finally {
          await stage.remove();
          rmSync(folder, { recursive: true });
        }
      },
    );
  }
}

const DROP_INS = "/etc/systemd/system/knock.service.d";

for (const suite of SUITES) {
  test(
    `the package on ${suite}: XDP by its drop-in alone`,
    { skip },
    async () => {
      const { folder } = build(`${MACHINE},deb`);
      const stage = new Stage(folder);
      const { system } = stage;
      const prefilter = () =>
        JSON.parse(system.run("knock status --json || true")).prefilter;
      try {
        await stage.make(suite);
        system.run(`dpkg -i /root/${deb}`);
        stage.enrol();
        system.run(`sed -i 's/backend: nft/&\\n  prefilter: xdp/' \
          /etc/knock/server.yaml
        systemctl start knock`);
        await until("the server runs", () => prefilter() !== null);
        assertEquals(prefilter().kind, "ingress");
        assertMatch(prefilter().problem, /needs CAP_BPF/);
        await stage.opened();

        system.run(`mkdir -p ${DROP_INS}
        cp /usr/share/doc/knock/xdp.conf ${DROP_INS}
        systemctl daemon-reload
        systemctl restart knock`);
        await until("XDP is at work", () => prefilter()?.kind === "xdp");
        assertEquals(prefilter().problem, null);
        assert(system.run("ip -d link show eth0").includes("prog/xdp"));
        await stage.opened();
        system.run("systemctl stop knock");
        assert(!system.run("ip -d link show eth0").includes("prog/xdp"));
      } finally {
        await stage.remove();
        rmSync(folder, { recursive: true });
      }
    },
  );
}
