/**
 * The binary of Linux and knock.js, built and run for real: in a root folder
 * of their own in which there is no Deno, no Bun and no node_modules.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { COMMANDS } from "../../lib/commands/table.ts";
import { VERSION } from "../../lib/values/program.ts";
import { FILES } from "../files.ts";
import { build, MACHINE, ROOT, run, whyNot } from "./build.ts";

/** A shared machine is slow at times; `deno task bench` measures for real. */
const SLOWEST_KNOCK_MS = 100;

const reason = whyNot(["unshare", "chroot", "ip", "nft"]);
const skip = reason !== null && process.env["CI"] !== "true" ? reason : false;

const { folder, said } = skip
  ? { folder: "", said: "" }
  : build(`${MACHINE},js,deb,npm,files`);
const scratch = mkdtempSync(join(tmpdir(), "knock-dist-test-"));
const binary = join(folder, `knock-${MACHINE}`);

after(() => {
  rmSync(scratch, { recursive: true });
  if (folder) rmSync(folder, { recursive: true });
});

/** A root folder with the system's programs, and nothing of a runtime. */
const ROOM = `
set -eu
room=$1 binary=$2
shift 2
# ip-netns(8) wants a root that is a mount.
mount --bind "$room" "$room"
mkdir -p "$room/tmp" "$room/run" "$room/var" "$room/root" "$room/proc" \\
  "$room/sys" "$room/dev" "$room/etc" "$room/usr"
ln -sfn ../run "$room/var/run"
for part in bin sbin lib lib64; do
  [ ! -L "/$part" ] || ln -sfn "$(readlink "/$part")" "$room/$part"
  [ -L "/$part" ] || { mkdir -p "$room/$part"; mount --rbind "/$part" "$room/$part"; }
done
mount --rbind /usr "$room/usr"
mount -t tmpfs none "$room/usr/local"
mount --rbind /etc "$room/etc"
mount --rbind /proc "$room/proc"
mount --rbind /sys "$room/sys"
mount --rbind /dev "$room/dev"
mount -t tmpfs none "$room/tmp"
mount -t tmpfs none "$room/run"
cp "$binary" "$room/root/knock"
exec chroot "$room" /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root "$@"
`;

/** Runs a shell script in the room, in which /root/knock is the program. */
function inRoom(script: string, status = 0) {
  const room = mkdtempSync(join(scratch, "room-"));
  return run("unshare", [
    ...["--mount", "--propagation", "private", "sh", "-c", ROOM, "sh"],
    ...[room, binary, "sh", "-c", script],
  ], { status });
}

test("dist says who made what", { skip }, () => {
  assertMatch(said, new RegExp(`^knock-${MACHINE} .*(deno|bun build) `, "m"));
  assertMatch(said, /^knock\.js /m);
  assertMatch(said, /^knock_.*\.deb /m);
});

test("SHA256SUMS holds, for sha256sum too", { skip }, () => {
  const { stdout } = run("sha256sum", ["--check", "SHA256SUMS"], {
    cwd: folder,
  });
  // The binary, knock.js, the two packages, and all that is in the list.
  assertEquals(stdout.match(/: OK$/gm)?.length, 4 + FILES.length);
  for (const { path } of FILES) assert(stdout.includes(`${path}: OK`), path);
});

test("the binary needs no runtime: there is none in the room", { skip }, () => {
  inRoom("command -v deno || command -v bun || command -v node_modules", 127);
});

test("the binary plays the whole demo", { skip }, () => {
  const { stdout } = inRoom("/root/knock demo");
  assertMatch(stdout, /in two network namespaces, with nftables/);
  assertMatch(stdout, /all as it should be/);
});

test("the binary has every command", { skip }, () => {
  const names = Object.keys(COMMANDS);
  const { stdout } = inRoom(
    names.map((name) => `/root/knock help ${name} && echo "== ${name}"`)
      .join("\n"),
  );
  for (const name of names) assert(stdout.includes(`== ${name}\n`), name);
});

test(
  "the binary opens libnftables, SQLite and its configuration",
  { skip },
  () => {
    const { stderr, stdout } = inRoom(`
    unshare --net sh -c '
      ip link set lo up
      /root/knock init --dir /tmp/knock --backend nft --service ssh=tcp/22
      timeout --signal TERM 3 /root/knock serve --config /tmp/knock/server.yaml
      nft list table inet knock
      /root/knock log --config /tmp/knock/server.yaml
    '`);
    assertMatch(stderr, /libnftables/);
    assertMatch(stdout, /table inet knock/);
  },
);

test(
  "the binary reads nothing of the folder that it is started in",
  { skip },
  () => {
    const { stderr } = inRoom(
      `cd /tmp && echo KNOCK_CONFIG=/tmp/theirs.yaml > .env &&
     /root/knock check 2>&1 | grep -c theirs; true`,
    );
    assertEquals(stderr, "");
    const { stdout } = inRoom(
      `cd /tmp && echo KNOCK_CONFIG=/tmp/theirs.yaml > .env &&
     /root/knock check 2>&1; true`,
    );
    assert(!stdout.includes("theirs"), stdout);
  },
);

test("the binary knocks in time", { skip }, () => {
  const key = run(binary, ["keygen"]).stdout.trim();
  const server = run(binary, ["pubkey"], { input: key }).stdout.trim();
  const profiles = join(scratch, "profiles.yaml");
  const uri = `knock://127.0.0.1:62299/?server=${server}&key=${key}&psk=${key}`;
  run(binary, ["import", `${uri}#home`, "--profiles", profiles]);
  const times = Array.from({ length: 11 }, () => {
    const from = performance.now();
    run(binary, ["home", "--no-reply", "--profiles", profiles]);
    return performance.now() - from;
  }).sort((a, b) => a - b);
  process.stderr.write(`a knock took ${times[5]!.toFixed(1)} ms\n`);
  assert(times[5]! < SLOWEST_KNOCK_MS, `${times[5]} ms`);
});

for (
  const [runtime, args] of [
    ["deno", ["run", "-A"]],
    ["bun", ["run"]],
  ] as const
) {
  const lacks = skip || whyNot([runtime]) || false;
  test(`knock.js alone plays the demo in ${runtime}`, { skip: lacks }, () => {
    const empty = join(scratch, runtime);
    mkdirSync(empty);
    copyFileSync(join(folder, "knock.js"), join(empty, "knock.js"));
    const options = { cwd: empty };
    const { stdout } = run(runtime, [...args, "knock.js", "demo"], options);
    assertMatch(stdout, /all as it should be/);
  });
}

test(
  "the same sources make the same bytes, in another folder, too",
  { skip },
  () => {
    const env = { SOURCE_DATE_EPOCH: "1767225600" };
    const other = join(scratch, "sources");
    mkdirSync(other);
    for (const name of readdirSync(ROOT)) {
      if (["node_modules", "dist", ".git"].includes(name)) continue;
      cpSync(join(ROOT, name), join(other, name), { recursive: true });
    }
    cpSync(join(ROOT, "node_modules"), join(other, "node_modules"), {
      recursive: true,
      verbatimSymlinks: true,
    });
    const sums = [ROOT, other].map((root) => {
      const { folder } = build(`${MACHINE},js,deb,npm,files`, env, root);
      const text = readFileSync(join(folder, "SHA256SUMS"), "utf8");
      rmSync(folder, { recursive: true });
      return text;
    });
    assertEquals(sums[0], sums[1]);
  },
);

test(
  "install.sh installs what the sums hold, and nothing else",
  { skip },
  () => {
    const home = join(scratch, "home");
    mkdirSync(home);
    const env = {
      KNOCK_URL: `file://${folder}`,
      KNOCK_DIR: join(home, "bin"),
      HOME: home,
    };
    const script = join(ROOT, "install.sh");
    run("sh", [script], { env });
    const placed = [
      "share/man/man1/knock.1",
      "share/man/man5/knock-server.yaml.5",
      "share/bash-completion/completions/knock",
      "share/zsh/site-functions/_knock",
      "share/fish/vendor_completions.d/knock.fish",
    ].map((path) => join(home, path));
    for (const path of placed) assert(existsSync(path), path);
    // Units are for the service of a system, not for a folder of one's own.
    assert(!existsSync(join(home, "lib")));
    const { stdout } = run(join(home, "bin/knock"), ["version"]);
    assertMatch(
      stdout,
      new RegExp(`^knock ${VERSION.replaceAll(".", "\\.")} `),
    );
    const forged = join(scratch, "forged");
    mkdirSync(forged);
    copyFileSync(join(folder, "SHA256SUMS"), join(forged, "SHA256SUMS"));
    writeFileSync(join(forged, `knock-${MACHINE}`), "another program");
    const { stderr } = run("sh", [script], {
      env: { ...env, KNOCK_URL: `file://${forged}` },
      status: 1,
    });
    assertMatch(stderr, /checksum/);
    const hash = (path: string) =>
      createHash("sha256").update(readFileSync(path)).digest("hex");
    assertEquals(hash(join(home, "bin/knock")), hash(binary));
    writeFileSync(join(home, "share/man/man1/other.1"), "another's");
    run("sh", [script, "--uninstal"], { env, status: 1 });
    run("sh", [script, "--uninstall"], { env });
    for (const path of [...placed, join(home, "bin/knock")]) {
      assert(!existsSync(path), path);
    }
    assert(existsSync(join(home, "share/man/man1/other.1")));
    const again = run("sh", [script, "--uninstall"], { env, status: 1 });
    assertMatch(again.stderr, /is not installed/);
  },
);
