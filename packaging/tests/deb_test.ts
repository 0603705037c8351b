/**
 * The Debian package in a system of its own, made with debootstrap: installed,
 * used as its unit uses it, upgraded, removed and purged. KNOCK_DEBIAN_ROOT
 * names a folder to keep that system in, for the next time.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { VERSION } from "../../lib/values/program.ts";
import { SWAP_ATTACK } from "../../tests/config/swap_attack.ts";
import { build, MACHINE, ROOT, run, whyNot } from "./build.ts";

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
  writeFileSync(join(root, "swap.pl"), SWAP_ATTACK);
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
    stat -c '%n %a %U:%G' /etc/knock /var/lib/knock
    echo "files: $(ls /etc/knock | wc -l)"
    echo "ruleset: $(nft list ruleset | wc -l)"
    echo "running: $(cat /proc/[0-9]*/comm | grep -c knock || true)"`);
  assertMatch(stdout, /^knock \d/m);
  assertMatch(stdout, /^knock:x:\d+:\d+:[^:]*:\/var\/lib\/knock:.*nologin$/m);
  assertMatch(stdout, /^\/etc\/knock 750 root:knock$/m);
  assertMatch(stdout, /^\/var\/lib\/knock 700 root:root$/m);
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

/** Work of knock.service, as far as it goes without systemd. */
const SERVE = `
  # systemd.exec(5), StateDirectory=: only where the folder is another user's.
  [ "$(stat -c %U /var/lib/knock)" = knock ] ||
    chown -R knock:knock /var/lib/knock
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
    stat -c '%n %a %U:%G' /etc/knock/*
    knock client add phone --code --server 192.0.2.1 >/dev/null
    knock log >/dev/null
    knock status || [ $? = 1 ]
    stat -c 'state of %U' /var/lib/knock /var/lib/knock/* | sort -u
    ${SERVE}`);
  assertEquals(stderr.match(/libnftables/g)?.length, 2, stderr);
  assertMatch(stdout, /table inet knock/);
  assertMatch(stdout, /^\/etc\/knock\/server.key 640 root:knock$/m);
  assertMatch(stdout, /^\/etc\/knock\/server.yaml 640 root:knock$/m);
  assertMatch(stdout, /^server not running|does not run/m);
  assertEquals(stdout.match(/^state of .*/gm), ["state of knock"]);
});

/** Runs what follows as the service's user, with its capabilities. */
const AS_KNOCK = "setpriv --reuid knock --regid knock --clear-groups " +
  "--inh-caps=-all --bounding-set=-all,+net_admin";

test("the service's user cannot change the configuration", { skip }, () => {
  const { stdout } = inDebian(`
    cat /etc/knock/server.* /etc/knock/code/* | md5sum
    for attempt in 'echo >>/etc/knock/server.yaml' 'echo >/etc/knock/new' \
      'rm -f /etc/knock/server.key' 'mv /etc/knock/code /etc/knock/c' \
      'echo >/etc/knock/code/phone.secret' 'chmod 777 /etc/knock'; do
      ! ${AS_KNOCK} sh -c "$attempt" 2>/dev/null
    done
    cat /etc/knock/server.* /etc/knock/code/* | md5sum
    ls -A /etc/knock | wc -l`);
  const [before, after, count] = stdout.trim().split("\n");
  assertEquals(after, before);
  assertEquals(count, "3");
});

test("the service's user gains nothing from what root does", { skip }, () => {
  const { stdout } = inDebian(`
    mkdir /victim
    (umask 077; echo secret >/victim/secret)
    install -d -o knock -g knock /var/lib/knock/store /var/lib/knock/store2
    attack() { ${AS_KNOCK} perl /swap.pl "$@" >/dev/null 2>&1 & }
    attack /etc/knock /victim /var/lib/knock/store
    first=$!
    attack /var/lib/knock /victim /var/lib/knock/store2
    second=$!
    sleep 1
    for turn in 1 2 3 4 5; do
      knock client add "a$turn" --code --server 192.0.2.1 >/dev/null
      knock client add "b$turn" --dialect openspa --server 192.0.2.1 >/dev/null
      knock client remove "a$turn"
      knock log >/dev/null || true
      knock status >/dev/null || true
    done
    knock init --dir /etc/knock || [ $? = 1 ]
    # Both have attacked to the end, or this fails.
    kill $first $second
    wait || true
    rm -r /var/lib/knock
    mkdir -m 700 /var/lib/knock
    find /victim -printf '%p %m %U %s\n'
    cat /victim/secret
    knock check
    find /etc/knock ! -user root -o ! -group knock -o -perm /7027 -o -type l`);
  assertEquals(stdout.match(/^\/victim.*|^secret$/gm), [
    "/victim 755 0 4096",
    "/victim/secret 600 0 7",
    "secret",
  ], stdout);
  assertMatch(stdout, /configuration OK/);
  assert(
    !/^\/etc\/knock/m.test(stdout.replace(/^.*configuration OK.*$/m, "")),
    stdout,
  );
});

test(
  "an upgrade takes the configuration from the service's user",
  { skip },
  () => {
    const { stdout, stderr } = inDebian(`
    chown -R knock:knock /etc/knock
    chmod 700 /etc/knock /etc/knock/code
    find /etc/knock -type f -exec chmod 600 {} +
    rm /etc/knock/code/a* 2>/dev/null || true
    # What the user may have prepared.
    (umask 077; echo shadow >/victim/shadow)
    ln -s /victim/shadow /etc/knock/link
    ln -s /victim /etc/knock/folder
    ln /victim/shadow /etc/knock/hard
    mkfifo /etc/knock/pipe
    ${AS_KNOCK} sh -c 'exec 3>>/etc/knock/server.yaml; : >/tmp/held
      while [ -e /tmp/held ]; do sleep 0.1; done; echo "evil: 1" >&3' &
    while [ ! -e /tmp/held ]; do sleep 0.1; done
    dpkg -i /root/${deb} >/dev/null
    rm /tmp/held
    wait
    rm /etc/knock/link /etc/knock/folder /etc/knock/hard /etc/knock/pipe
    find /etc/knock ! -user root -o ! -group knock -o -perm /7027
    stat -c '%n %a %U:%G %s' /victim /victim/shadow
    knock check
    ${SERVE}`);
    assertMatch(stderr, /\/etc\/knock\/link is a link: left/);
    assertMatch(
      stderr,
      /\/etc\/knock\/hard is another user's, or has other names/,
    );
    assertMatch(
      stdout,
      /^\/victim 755 root:root \d+\n\/victim\/shadow 600 root:root 7$/m,
    );
    assertMatch(stdout, /configuration OK/);
    assertEquals(stdout.match(/^\/etc\/knock(?!.*configuration OK).*/gm), null);
  },
);

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
    sums() { find /etc/knock -type f -exec md5sum {} + | sort; }
    sums
    dpkg -i /root/${deb} >/dev/null
    sums`);
  const lines = stdout.trim().split("\n");
  const half = lines.length / 2;
  assert(half > 5);
  assertEquals(lines.slice(0, half), lines.slice(half));
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
    assertMatch(stdout, /^server\.key\nserver\.yaml\n/m);
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

test("apt installs it from a repository that is signed", {
  skip: skip || (whyNot(["gpg"]) ?? false),
}, () => {
  const home = join(scratch, "gpg");
  mkdirSync(home, { mode: 0o700 });
  const gpg = ["--homedir", home, "--batch", "--passphrase", ""];
  run("gpg", [...gpg, "--quick-gen-key", "knock@example.org", "ed25519"]);
  const repository = join(root, "repository");
  run("deno", [
    ...["run", "-A", "--no-check", join(ROOT, "packaging/apt.ts")],
    ...["--from", folder, "--out", repository, "--key", "knock@example.org"],
  ], { env: { GNUPGHOME: home } });
  run("gpg", [
    ...gpg,
    "-o",
    join(root, "usr/share/keyrings/knock.gpg"),
    "--export",
  ]);
  const install = `
    echo 'deb [signed-by=/usr/share/keyrings/knock.gpg] file:/repository stable main' >/root/list
    options='-o Dir::Etc::sourcelist=/root/list -o Dir::Etc::sourceparts=-'
    apt-get $options update 2>&1
    apt-get $options install -y knock 2>&1`;
  const { stdout } = inDebian(`${install}
    knock version`);
  assertMatch(
    stdout,
    new RegExp(`^knock ${VERSION.replaceAll(".", "\\.")} `, "m"),
  );
  // A repository that was changed is not believed.
  const changed = join(repository, "dists/stable/InRelease");
  const text = readFileSync(changed, "utf8");
  writeFileSync(changed, text.replace("Label: knock", "Label: other"));
  rmSync(join(repository, "dists/stable/Release.gpg"));
  const { stdout: refused } = inDebian(
    `dpkg -P knock 2>/dev/null
    rm -rf /var/lib/apt/lists/*
    ${install}`,
    100,
  );
  assertMatch(refused, /not signed|signature|BADSIG/i);
});
