/**
 * The Debian package in a system of its own, made with debootstrap: installed,
 * used as its unit uses it, upgraded, removed and purged. KNOCK_DEBIAN_ROOT
 * names a folder to keep that system in, for the next time.
 */

import { after, test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { VERSION } from "../../lib/values/version.ts";
import { build, MACHINE, run, whyNot } from "./build.ts";

const SUITE = "bookworm";
/** Absent: what debootstrap takes by itself. */
const MIRROR = process.env["KNOCK_DEBIAN_MIRROR"];

const skip = whyNot(["debootstrap", "unshare", "chroot"]) ?? false;

const scratch = mkdtempSync(join(tmpdir(), "knock-deb-test-"));
const root = join(scratch, "root");
const machine = MACHINE === "linux-arm64" ? "arm64" : "amd64";
const deb = `knock_${VERSION}_${machine}.deb`;
let folder = "";

after(() => {
  rmSync(scratch, { recursive: true });
  if (folder) rmSync(folder, { recursive: true });
});

/** Runs a script of the shell in the system, in a network of its own. */
function inDebian(script: string, status = 0) {
  return run("unshare", [
    ...["--mount", "--net", "--pid", "--fork", "sh", "-c"],
    `mount --bind "$0" "$0" && mount -t proc none "$0/proc" &&
     mount --rbind /dev "$0/dev" &&
     exec chroot "$0" /usr/bin/env -i HOME=/root LC_ALL=C \\
       DEBIAN_FRONTEND=noninteractive \\
       PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -euc "$1"`,
    root,
    script,
  ], { status });
}

test("a Debian is made", { skip }, () => {
  const kept = process.env["KNOCK_DEBIAN_ROOT"] ?? join(scratch, "kept");
  if (!existsSync(join(kept, "usr/bin/dpkg"))) {
    run("debootstrap", [
      "--variant=minbase",
      "--include=nftables",
      ...[SUITE, kept],
      ...(MIRROR ? [MIRROR] : []),
    ]);
  }
  run("cp", ["-a", kept, root]);
  folder = build(`${MACHINE},deb`).folder;
  copyFileSync(join(folder, deb), join(root, "root", deb));
});

test(
  "lintian finds no error",
  { skip: skip || (whyNot(["lintian"]) ?? false) },
  () => {
    run("lintian", [
      "--allow-root",
      "--fail-on",
      "error",
      join(folder, deb),
    ]);
  },
);

test("installing it starts nothing, closes nothing and makes the user", {
  skip,
}, () => {
  const { stdout } = inDebian(`
    dpkg -i /root/${deb} >/dev/null
    knock version
    getent passwd knock
    stat -c '%n %a %U' /etc/knock /var/lib/knock
    echo "files: $(ls /etc/knock | wc -l)"
    echo "ruleset: $(nft list ruleset | wc -l)"
    echo "running: $(cat /proc/[0-9]*/comm | grep -c knock || true)"`);
  assertMatch(stdout, /^knock \d/m);
  assertMatch(stdout, /^knock:x:\d+:\d+:[^:]*:\/var\/lib\/knock:.*nologin$/m);
  assertMatch(stdout, /^\/etc\/knock 750 knock$/m);
  assertMatch(stdout, /^\/var\/lib\/knock 750 knock$/m);
  assertMatch(stdout, /^files: 0\nruleset: 0\nrunning: 0$/m);
});

test("the example is a good configuration", { skip }, () => {
  inDebian(`
    mkdir /tmp/example
    install -m 600 /usr/share/doc/knock/examples/server.yaml /tmp/example/
    (umask 077; knock keygen > /tmp/example/server.key 2>/dev/null)
    knock check /tmp/example/server.yaml | grep -q 'configuration OK'
    rm -r /tmp/example`);
});

/** What knock.service does, as far as it goes without systemd. */
const SERVE = `
  chown -R knock:knock /etc/knock /var/lib/knock
  caps=+net_admin,+net_raw,+net_bind_service
  timeout --signal TERM 3 setpriv --reuid knock --regid knock --clear-groups \\
    --inh-caps "$caps" --ambient-caps "$caps" --bounding-set "-all,$caps" \\
    --no-new-privs env KNOCK_CONFIG=/etc/knock/server.yaml \\
    STATE_DIRECTORY=/var/lib/knock knock serve || [ $? = 124 ]`;

test("the service runs as its own user, with libnftables", { skip }, () => {
  const { stdout, stderr } = inDebian(`
    knock init --backend nft --service ssh=tcp/22 >/dev/null
    knock client add laptop --server 192.0.2.1 >/dev/null
    ${SERVE}
    nft list table inet knock
    stat -c '%n %a %U' /etc/knock/server.yaml /etc/knock/server.key
    knock client add phone --server 192.0.2.1 >/dev/null
    knock log >/dev/null
    ${SERVE}`);
  assertEquals(stderr.match(/libnftables/g)?.length, 2, stderr);
  assertMatch(stdout, /table inet knock/);
  assertMatch(stdout, /^\/etc\/knock\/server.yaml 600 knock$/m);
});

test(
  "knock-guard.service closes what the configuration guards",
  { skip },
  () => {
    const { stdout } = inDebian(`
    unit=/usr/lib/systemd/system/knock-guard.service
    export KNOCK_CONFIG=/etc/knock/server.yaml
    # What systemd makes of the line: "$$" is "$", and "%%" is "%".
    sed -n 's/^ExecStart=//p' "$unit" | sed 's/\\$\\$/$/g; s/%%/%/g' | sh -eu
    nft list table inet knock`);
    assertMatch(stdout, /chain/);
    assertMatch(stdout, /22/);
  },
);

test("installing it again keeps the configuration", { skip }, () => {
  const { stdout } = inDebian(`
    md5sum /etc/knock/*
    dpkg -i /root/${deb} >/dev/null
    md5sum /etc/knock/*`);
  const lines = stdout.trim().split("\n");
  assertEquals(lines.slice(0, 2), lines.slice(2));
});

test(
  "removing it keeps the configuration, and leaves nothing closed",
  { skip },
  () => {
    const { stdout } = inDebian(`
    nft add table inet knock
    dpkg -r knock >/dev/null
    ls /etc/knock
    ! command -v knock
    echo "ruleset: $(nft list ruleset | wc -l)"`);
    assertMatch(stdout, /^server\.key\nserver\.yaml\n/);
    assertMatch(stdout, /^ruleset: 0$/m);
  },
);

test("purging it leaves nothing", { skip }, () => {
  inDebian(`
    dpkg -P knock 2>/dev/null
    ! test -e /etc/knock
    ! test -e /var/lib/knock
    ! getent passwd knock`);
  assert(!existsSync(join(root, "usr/share/doc/knock")));
});
