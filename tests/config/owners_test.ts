/**
 * Owners of files, rights to write them, and one server for each state folder:
 * with real files, and a user that does its worst while root works.
 */

import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import {
  createOwn,
  placeMistake,
  rightsMistake,
  trustMistake,
} from "../../lib/config/files/rights.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";
import { runtime } from "../fakes/runtime.ts";
import { SWAP_ATTACK } from "./swap_attack.ts";
import { SystemError } from "../../lib/values/errors.ts";

const MAIN = fileURLToPath(new URL("../../main.ts", import.meta.url));
const COMMAND = runtime.name === "deno"
  ? ["run", "-A", "--no-check", MAIN]
  : ["run", MAIN];
/** A user id and group id of nobody on this machine. */
const STRANGER = 61234;

const LIMIT_MS = 120_000;

const linux = runtime.platform === "linux";
const skip = !linux
  ? "needs Linux"
  : runtime.userId() !== 0
  ? "needs root"
  : ["setpriv", "perl"].some((name) => spawnSync(name, ["--version"]).error)
  ? "needs setpriv and perl"
  : false;

/** Runs a command of the program; status null: it did not end. */
function knock(args: readonly string[], options: {
  readonly input?: string;
  readonly cwd?: string;
} = {}) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...COMMAND, ...args],
    {
      encoding: "utf8",
      timeout: LIMIT_MS,
      env: { ...process.env, HOME: "/nonexistent", NO_COLOR: "1" },
      ...options,
    },
  );
  return { status, stdout, stderr };
}

async function inFolder(body: (folder: string) => Promise<void> | void) {
  const folder = fs.mkdtempSync(join(tmpdir(), "knock-owners-"));
  fs.chmodSync(folder, 0o755);
  try {
    await body(folder);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** Names, modes, owners and contents of a folder. */
function picture(folder: string): unknown {
  return fs.readdirSync(folder).sort().map((name) => {
    const path = join(folder, name);
    const { mode, uid, gid, ino } = fs.lstatSync(path);
    return [name, mode, uid, gid, ino, fs.readFileSync(path, "utf8")];
  });
}

/** Attacks a folder while something is done. */
async function underAttack(
  { target, victim, store }: Readonly<
    Record<"target" | "victim" | "store", string>
  >,
  body: () => void,
): Promise<void> {
  fs.mkdirSync(store);
  fs.chownSync(store, STRANGER, STRANGER);
  const attacker = spawn("setpriv", [
    ...["--reuid", `${STRANGER}`, "--regid", `${STRANGER}`, "--clear-groups"],
    ...["perl", "-e", SWAP_ATTACK, target, victim, store],
  ], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    await new Promise((resolve) => attacker.stdout!.once("data", resolve));
    body();
    assertEquals(attacker.exitCode, null, "it attacked to the end");
  } finally {
    attacker.kill("SIGKILL");
    await new Promise((resolve) => attacker.once("close", resolve));
  }
}

test("placeMistake() believes root and this user, and nobody else", () => {
  const FILE = "/srv/knock/server.yaml";
  type Change = (files: FakeRuntime["files"]) => void;
  const cases: [name: string, user: number, Change, wanted: string | null][] = [
    ["all of it is root's", 0, () => {}, null],
    [
      "a file of a user's",
      0,
      (files) => files.chown(FILE, 1000),
      "chown root /srv/knock/server.yaml",
    ],
    [
      "a folder of a user's",
      0,
      (files) => files.chown("/srv/knock", 1000),
      "chown root /srv/knock",
    ],
    [
      "a folder above",
      0,
      (files) => files.chown("/srv", 1000),
      "chown root /srv",
    ],
    ["root's file for a user", 1000, (files) => files.chown(FILE, 0), null],
    [
      "a stranger's for a user",
      1000,
      (files) => files.chown(FILE, 1001),
      "chown 1000 /srv/knock/server.yaml",
    ],
    [
      "a folder that all write",
      0,
      (files) => files.chmod("/srv", 0o777),
      "chmod go-w /srv",
    ],
    [
      "a folder that a group writes",
      0,
      (files) => files.chmod("/srv", 0o775),
      "chmod go-w /srv",
    ],
    ["a folder as /tmp", 0, (files) => files.chmod("/srv", 0o1777), null],
    [
      "a user's private group",
      1000,
      (files) => files.chmod("/srv", 0o775),
      null,
    ],
    ["a user's other group", 1000, (files) => {
      files.chmod("/srv", 0o775);
      files.chown("/srv", 1000, 100);
    }, "chmod go-w /srv"],
    [
      "a file that its group writes",
      1000,
      (files) => files.chmod(FILE, 0o660),
      "chmod go-w /srv/knock/server.yaml",
    ],
    [
      "a private group's folder that all write",
      1000,
      (files) => files.chmod("/srv", 0o777),
      "chmod go-w /srv",
    ],
    [
      "a file with the bit of /tmp",
      0,
      (files) => files.chmod(FILE, 0o1666),
      "chmod go-w /srv/knock/server.yaml",
    ],
    ["no file yet", 0, (files) => files.remove(FILE), null],
    ["no file yet, a user's folder", 0, (files) => {
      files.remove(FILE);
      files.chown("/srv/knock", 1000);
    }, "chown root /srv/knock"],
  ];
  for (const [name, userId, change, wanted] of cases) {
    const fake = new FakeRuntime({ userId, files: { [FILE]: "" } });
    change(fake.files);
    assertEquals(placeMistake(fake, FILE)?.hint ?? null, wanted, name);
  }
});

test("rightsMistake() lets the server's own group read what is root's", () => {
  const FILE = "/etc/knock/server.key";
  const cases: [
    user: number,
    file: [owner: number, group: number, mode: number],
    folder: [group: number, mode: number],
    hint: string | null,
  ][] = [
    [990, [0, 990, 0o640], [990, 0o750], null],
    [990, [0, 990, 0o660], [990, 0o750], `chmod 600 ${FILE}`],
    [990, [0, 990, 0o644], [990, 0o750], `chmod 600 ${FILE}`],
    [990, [0, 100, 0o640], [990, 0o750], `chgrp 990 ${FILE}`],
    [990, [990, 990, 0o640], [990, 0o750], `chmod 600 ${FILE}`],
    [0, [0, 990, 0o640], [990, 0o750], null],
    [0, [0, 990, 0o640], [100, 0o750], `chmod 600 ${FILE}`],
    [0, [0, 990, 0o640], [990, 0o755], `chmod 600 ${FILE}`],
    [0, [0, 0, 0o640], [0, 0o755], null],
    [0, [0, 990, 0o600], [0, 0o755], null],
  ];
  for (const [userId, [owner, group, mode], folder, hint] of cases) {
    const fake = new FakeRuntime({ userId, files: { [FILE]: "" } });
    fake.files.chown("/etc/knock", 0, folder[0]);
    fake.files.chmod("/etc/knock", folder[1]);
    fake.files.chown(FILE, owner, group);
    fake.files.chmod(FILE, mode);
    const info = fake.files.stat(FILE)!;
    assertEquals(
      rightsMistake(fake, FILE, info)?.hint ?? null,
      hint,
      JSON.stringify([userId, owner, group, mode, folder]),
    );
  }
});

test("trustMistake() believes no file that was not there a moment before", () => {
  const FILE = "/etc/knock/server.yaml";
  const fake = new FakeRuntime({ userId: 0, files: { [FILE]: "" } });
  const ask = () => trustMistake(fake, FILE, { secret: true });
  assertEquals(ask(), null);
  const { places } = fake.files.way("/etc/knock");
  fake.files.way = () => ({ places, isWhole: false });
  assertEquals(ask()?.text, "is missing now");
});

test("createOwn() makes nothing in a folder that others could have made meanwhile", () => {
  const fake = new FakeRuntime({ userId: 0 });
  fake.files.makeFolder("/tmp/etc", 0o700);
  // A moment before, when it was looked at, there was only /tmp.
  const { places } = fake.files.way("/tmp");
  fake.files.way = () => ({ places, isWhole: false });
  const make = () => createOwn(fake, "/tmp/etc/server.key", "secret");
  assertThrows(make, SystemError, "no such folder");
  assertEquals(fake.files.paths(), []);
});

test("way() shows each folder and link, and whether it is whole", {
  skip: linux ? false : "needs Linux",
  timeout: LIMIT_MS,
}, () =>
  inFolder((folder) => {
    folder = fs.realpathSync(folder);
    fs.mkdirSync(join(folder, "real"));
    fs.symlinkSync("real", join(folder, "link"));
    fs.symlinkSync(join(folder, "link"), join(folder, "real/absolute"));
    fs.symlinkSync("../link/file", join(folder, "real/up"));
    fs.symlinkSync("loop", join(folder, "loop"));
    fs.writeFileSync(join(folder, "real/file"), "");
    const steps = (name: string) => {
      const { places, isWhole } = runtime.files.way(join(folder, name));
      return [
        ...places.filter(({ path }) => path.startsWith(`${folder}/`))
          .map(({ path }) => path.slice(folder.length + 1)),
        isWhole,
      ];
    };
    assertEquals(steps("real/file"), ["real", "real/file", true]);
    assertEquals(steps("link/file"), ["link", "real", "real/file", true]);
    assertEquals(steps("real/up"), [
      "real",
      "real/up",
      "link",
      "real",
      "real/file",
      true,
    ]);
    assertEquals(steps("real/absolute/file").slice(-4), [
      "link",
      "real",
      "real/file",
      true,
    ]);
    assertEquals(steps("real/none/more"), ["real", false]);
    const { places } = runtime.files.way(folder);
    assertEquals([places[0]!.path, places.at(-1)!.path], ["/", folder]);
    let code = "";
    try {
      steps("loop");
    } catch (error) {
      code = (error as { code: string }).code;
    }
    assertEquals(code, "ELOOP");
  }));

test("nothing is written through a link, or into what is no file", {
  skip: linux ? false : "needs Linux",
  timeout: LIMIT_MS,
}, () =>
  inFolder(async (folder) => {
    const path = (name: string) => join(folder, name);
    fs.writeFileSync(path("victim"), "as it was", { mode: 0o644 });
    fs.symlinkSync("victim", path("link"));
    fs.symlinkSync("none", path("dangling"));
    fs.linkSync(path("victim"), path("second"));
    const refused = async (act: () => unknown) => {
      try {
        await act();
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "done";
    };
    const { files } = runtime;
    assertEquals(
      await refused(() => files.replace(path("link"), "x", 0o600)),
      "ELOOP",
    );
    assertEquals(
      await refused(() => files.replace(path("dangling"), "x", 0o600)),
      "ELOOP",
    );
    assertEquals(
      await refused(() => files.replace(folder, "x", 0o600)),
      "EINVAL",
    );
    for (const name of ["link", "dangling", "victim"]) {
      assertEquals(
        await refused(() => files.create(path(name), "x", 0o600)),
        "EEXIST",
      );
    }
    for (const name of ["link", "dangling"]) {
      assertEquals(
        await refused(() => runtime.openDatabase(path(name))),
        "ELOOP",
      );
    }
    assert(!fs.existsSync(path("none")));
    (await runtime.openDatabase(path("state"))).close();
    assertEquals(fs.statSync(path("state")).mode & 0o7777, 0o600);
    fs.rmSync(path("state"));
    // A file that is replaced stays its owner's.
    if (runtime.userId() === 0) {
      fs.chownSync(path("second"), STRANGER, STRANGER);
    }
    const { uid, gid } = fs.statSync(path("second"));
    // Another name of the same file keeps what was in it.
    files.replace(path("second"), "x", 0o600);
    assertEquals(fs.readFileSync(path("victim"), "utf8"), "as it was");
    const kept = fs.statSync(path("second"));
    assertEquals(
      [kept.mode & 0o7777, kept.uid, kept.gid],
      [0o644, uid, gid],
      "kept",
    );
    files.remove(path("link"));
    assertEquals(fs.readFileSync(path("victim"), "utf8"), "as it was");
    assertEquals(
      fs.readdirSync(folder).sort(),
      ["dangling", "second", "victim"],
      "no other files are left",
    );
  }));

test("root's commands leave a stranger's files alone, and say chown", {
  skip,
  timeout: LIMIT_MS,
}, () =>
  inFolder((folder) => {
    const dir = join(folder, "etc");
    assertEquals(knock(["init", "--dir", dir, "--backend", "gate"]).status, 0);
    const config = join(dir, "server.yaml");
    const add = ["client", "add", "a", "--server", "192.0.2.1", "-c", config];
    for (
      const [place, hint] of [
        [config, `chown root ${config}`],
        [join(dir, "server.key"), `chown root ${join(dir, "server.key")}`],
        [dir, `chown root ${dir}`],
        [folder, `chown root ${folder}`],
      ] as const
    ) {
      fs.chownSync(place, STRANGER, STRANGER);
      for (const args of [add, ["check", config], ["serve", "-c", config]]) {
        const { status, stderr } = knock(args);
        assertEquals(status, 2, stderr);
        assert(stderr.includes(`knock: hint: ${hint}\n`), stderr);
      }
      fs.chownSync(place, 0, 0);
    }
    // The state folder, and the database in it.
    const state = join(dir, "state");
    fs.mkdirSync(state, { mode: 0o700 });
    fs.writeFileSync(join(state, "state.db"), "");
    for (const place of [state, join(state, "state.db")]) {
      fs.chownSync(place, STRANGER, STRANGER);
      const { status, stderr } = knock(["serve", "-c", config]);
      assertEquals(status, 1, stderr);
      assert(stderr.includes(`knock: hint: chown root ${place}\n`), stderr);
      fs.chownSync(place, 0, 0);
    }
    assertEquals(knock(add).status, 0);
  }));

test(
  "in a folder that root gave a group, what root writes is that group's to read",
  {
    skip,
  },
  () =>
    inFolder((folder) => {
      const dir = join(folder, "etc");
      fs.mkdirSync(dir);
      fs.chownSync(dir, 0, STRANGER);
      fs.chmodSync(dir, 0o750);
      const config = join(dir, "server.yaml");
      const on = ["--server", "192.0.2.1", "-c", config];
      for (
        const args of [
          ["init", "--dir", dir, "--backend", "gate"],
          [
            "client",
            "add",
            "a",
            "--code",
            "--svg",
            join(folder, "a.svg"),
            ...on,
          ],
          ["client", "add", "b", "--dialect", "openspa", ...on],
          ["client", "add", "c", "--dialect", "openme", ...on],
          ["client", "remove", "c", "-c", config],
          ["check", config],
        ]
      ) {
        const { status, stderr } = knock(args, { cwd: folder });
        assertEquals(status, 0, stderr);
      }
      for (
        const name of fs.readdirSync(dir, { recursive: true }) as string[]
      ) {
        const { uid, gid, mode } = fs.lstatSync(join(dir, name));
        const kind = fs.lstatSync(join(dir, name)).isDirectory()
          ? 0o750
          : 0o640;
        assertEquals([uid, gid, mode & 0o7777], [0, STRANGER, kind], name);
      }
      // What somebody takes away is for root alone.
      for (const name of ["a.svg", "b.ospa"]) {
        assertEquals(fs.statSync(join(folder, name)).mode & 0o777, 0o600);
      }
    }),
);

/**
 * Paths below a folder that are root's. The attack ends at any moment: its last
 * link is not followed, and a hard link to root's own secret is none of them.
 */
function ofRoot(folder: string, secret: number): string[] {
  return fs.readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    const found = fs.lstatSync(path);
    const own = found.uid === 0 && found.ino !== secret ? [path] : [];
    return found.isDirectory() ? [...own, ...ofRoot(path, secret)] : own;
  });
}

test(
  "a user that swaps the files of a folder of its own gains nothing from root's commands",
  {
    skip,
  },
  () =>
    inFolder(async (folder) => {
      const victim = join(folder, "victim");
      fs.mkdirSync(victim, { mode: 0o755 });
      fs.writeFileSync(join(victim, "secret"), "root's", { mode: 0o600 });
      const before = picture(victim);
      const target = join(folder, "open/etc");
      fs.mkdirSync(join(folder, "open"));
      assertEquals(
        knock(["init", "--dir", target, "--backend", "gate"]).status,
        0,
      );
      for (const name of ["server.yaml", "server.key", "", ".."]) {
        fs.chownSync(join(target, name), STRANGER, STRANGER);
      }
      const config = join(target, "server.yaml");
      const on = ["--server", "192.0.2.1", "-c", config];
      const source = join(folder, "fwknop.conf");
      fs.writeFileSync(source, "SOURCE ANY\nKEY swordfish\n");
      await underAttack(
        { target, victim, store: join(folder, "open/store") },
        () => {
          for (
            const args of [
              ["client", "add", "a", "--code", ...on],
              ["client", "add", "b", "--dialect", "openspa", ...on],
              ["client", "remove", "a", "-c", config],
              ["init", "--dir", target, "--backend", "gate"],
              ["convert", "fwknop", source, "--dir", target],
              ["serve", "-c", config],
            ]
          ) {
            const { status, stderr } = knock(args, { cwd: folder, input: "" });
            assert(
              status === 1 || status === 2,
              `${args}: ${status} ${stderr}`,
            );
          }
        },
      );
      assertEquals(picture(victim), before);
      const { ino } = fs.statSync(join(victim, "secret"));
      const made = ofRoot(join(folder, "open"), ino);
      assertEquals(made, [], "root left nothing with the user");
    }),
);

test(
  "a user that swaps links into a folder as /tmp gains nothing from root's init",
  {
    skip,
  },
  () =>
    inFolder(async (folder) => {
      const victim = join(folder, "victim");
      fs.mkdirSync(victim, { mode: 0o755 });
      fs.writeFileSync(join(victim, "secret"), "root's", { mode: 0o600 });
      const before = picture(victim);
      const shared = join(folder, "shared");
      fs.mkdirSync(shared);
      fs.chmodSync(shared, 0o1777);
      const target = join(shared, "etc");
      await underAttack(
        { target, victim, store: join(folder, "store") },
        () => {
          for (let turn = 0; turn < 5; turn++) {
            knock(["init", "--dir", target, "--backend", "gate"]);
          }
        },
      );
      assertEquals(picture(victim), before);
    }),
);

async function freePort(): Promise<number> {
  const listener = await runtime.listenStream(
    { host: "127.0.0.1", port: 0 },
    () => {},
  );
  await listener.close();
  return listener.at.port;
}

/** Starts a server; resolves with what it said until it listens or ends. */
async function serve(config: string): Promise<[ChildProcess, string]> {
  const child = spawn(process.execPath, [...COMMAND, "serve", "-c", config], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  await new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.stderr.on("data", (bytes) => {
      said += bytes;
      if (said.includes("listens on")) resolve();
    });
  });
  return [child, said];
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.kill(signal);
  await closed;
}

test("a state folder has one server, also after kill -9, and others can look", {
  skip: linux ? false : "needs Linux",
  timeout: LIMIT_MS,
}, () =>
  inFolder(async (folder) => {
    const config = join(folder, "server.yaml");
    const made = knock(["init", "--dir", folder, "--backend", "gate"]);
    assertEquals(made.status, 0, made.stderr);
    const text = fs.readFileSync(config, "utf8")
      .replace(/^listen: .*/m, `listen: ["127.0.0.1:${await freePort()}"]`)
      .replace(/tcp\/2222/, `tcp/${await freePort()}`);
    fs.writeFileSync(config, text);
    const children: ChildProcess[] = [];
    try {
      for (let round = 0; round < 2; round++) {
        const [first, said] = await serve(config);
        children.push(first);
        assertMatch(said, /listens on/);
        const { status, stderr } = knock(["serve", "-c", config]);
        assertEquals(status, 1, stderr);
        assertMatch(
          stderr,
          new RegExp(`in use by the server with process id ${first.pid}\n`),
        );
        assertMatch(
          stderr,
          new RegExp(
            `knock: hint: end that server first \\(kill ${first.pid}\\)`,
          ),
        );
        assertEquals(knock(["status", "-c", config]).status, 0);
        const name = `client-${round}`;
        const added = knock([
          "client",
          "add",
          name,
          "--server",
          "192.0.2.1",
          "-c",
          config,
        ]);
        assertEquals(added.status, 0, added.stderr);
        await end(first, round === 0 ? "SIGKILL" : "SIGTERM");
      }
      const [last, said] = await serve(config);
      children.push(last);
      assertMatch(said, /listens on/);
      await end(last, "SIGTERM");
    } finally {
      for (const child of children) child.kill("SIGKILL");
    }
  }));

test("root looks into a service's state with that user's rights alone", {
  skip,
  timeout: LIMIT_MS,
}, () =>
  inFolder((folder) => {
    const config = join(folder, "server.yaml");
    knock(["init", "--dir", folder, "--backend", "gate"]);
    const state = join(folder, "state");
    fs.mkdirSync(state, { mode: 0o700 });
    fs.chownSync(state, STRANGER, STRANGER);
    const database = join(state, "state.db");
    // Root's, where the user put a link: it is neither made nor written.
    fs.symlinkSync(join(folder, "made"), database);
    fs.writeFileSync(join(folder, "root.db"), "", { mode: 0o600 });
    for (const target of ["made", "root.db"]) {
      fs.rmSync(database);
      fs.symlinkSync(join(folder, target), database);
      for (const args of [["status"], ["log"], ["doctor"]]) {
        knock([...args, "-c", config]);
      }
    }
    assert(!fs.existsSync(join(folder, "made")));
    assertEquals(fs.statSync(join(folder, "root.db")).size, 0);
    fs.rmSync(database);
    fs.writeFileSync(database, "", { mode: 0o600 });
    fs.chownSync(database, STRANGER, STRANGER);
    const { status, stderr } = knock(["status", "-c", config]);
    assertEquals(status, 1, stderr);
    assertEquals(stderr, "");
    assertEquals(
      [
        ...new Set(
          fs.readdirSync(state).map((name) =>
            fs.statSync(join(state, name)).uid
          ),
        ),
      ],
      [STRANGER],
    );
  }));

test("root's import into a user's folder works with that user's rights alone", {
  skip,
  timeout: LIMIT_MS,
}, () =>
  inFolder((folder) => {
    const dir = join(folder, "etc");
    knock(["init", "--dir", dir, "--backend", "gate"]);
    const config = join(dir, "server.yaml");
    const on = ["--server", "192.0.2.1", "-c", config];
    const input = knock(["client", "add", "a", ...on]).stdout;
    const home = join(folder, "home");
    fs.mkdirSync(home);
    fs.chownSync(home, STRANGER, STRANGER);
    const profiles = join(home, ".config/knock/profiles.yaml");
    const args = ["import", "--profiles", profiles, "--name"];
    assertEquals(knock([...args, "one"], { input }).status, 0);
    for (const path of [profiles, join(home, ".config")]) {
      assertEquals(fs.statSync(path).uid, STRANGER);
    }
    // Neither read nor written: root's profiles, where the user put a link.
    const own = join(folder, "profiles.yaml");
    fs.copyFileSync(profiles, own);
    fs.chmodSync(own, 0o600);
    const before = fs.readFileSync(own, "utf8");
    fs.rmSync(profiles);
    fs.symlinkSync(own, profiles);
    assertEquals(knock([...args, "two"], { input }).status, 2);
    assertEquals(fs.readFileSync(own, "utf8"), before);
    fs.rmSync(join(home, ".config"), { recursive: true });
    fs.mkdirSync(join(folder, "victim"), { mode: 0o755 });
    fs.symlinkSync(join(folder, "victim"), join(home, ".config"));
    knock([...args, "three"], { input });
    assertEquals(fs.readdirSync(join(folder, "victim")), []);
  }));
