/** `knock proxy` and `knock exec` under the real ssh, scp and git. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  CLIENTS,
  type Pair,
  pass,
  type Said,
  scriptCommand,
  SERVER,
} from "./netns.ts";
import { type Program, programTest } from "./program.ts";

const PROGRAMS = ["sshd", "ssh", "ssh-keygen", "scp", "git", "unshare"];

const SETTINGS = `
listen: [62201]
firewall: { backend: nft }
services: { ssh: tcp/22 }
defaults: { for: 20s, max_for: 1h }
`;

/** A megabyte, with every byte in it. */
const BYTES = Uint8Array.from(
  { length: 1 << 20 },
  (_, index) => (index * 31 + (index >> 8)) & 0xff,
);

interface Scene {
  readonly program: Program;
  readonly pair: Pair;
  /** A folder of the test's own, also the client's home. */
  readonly folder: string;
  /** Runs a program in the client's namespace. */
  client(argv: readonly string[], stdin?: string): Promise<Said>;
  /** Count of the server's openings. */
  opened(): number;
}

function scene(name: string, body: (scene: Scene) => Promise<void>): void {
  programTest(name, async (program, pair) => {
    const { folder } = program;
    program.configure(SETTINGS, [{ name: "home", policy: ["open: [ssh]"] }]);
    await program.serve();
    await program.enrol("home");
    await startSshd(pair, folder);
    await pair.cableUp();
    const environment = [
      `HOME=${folder}`,
      `XDG_STATE_HOME=${folder}/memory`,
      `KNOCK_PROFILES=${folder}/profiles.yaml`,
      `GIT_SSH_COMMAND=ssh -F ${folder}/ssh_config`,
      "GIT_CONFIG_NOSYSTEM=1",
    ];
    await body({
      program,
      pair,
      folder,
      client: (argv, stdin) =>
        pair.exec(pair.client, ["env", ...environment, ...argv], stdin),
      opened: () => program.log.match(/ info open home /g)?.length ?? 0,
    });
  }, PROGRAMS);
}

/** An sshd of the test's own, with fresh keys, for root by key alone. */
async function startSshd(pair: Pair, folder: string): Promise<void> {
  for (const key of ["host", "user"]) {
    await pair.onServer(
      ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${folder}/${key}`],
    );
  }
  write(
    join(folder, "authorized_keys"),
    readFileSync(`${folder}/user.pub`, "utf8"),
  );
  write(
    join(folder, "sshd_config"),
    `Port 22
HostKey ${folder}/host
PidFile none
AuthorizedKeysFile ${folder}/authorized_keys
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
`,
  );
  // sshd wants this folder, and a system that runs none may not have it.
  mkdirSync("/run/sshd", { recursive: true, mode: 0o755 });
  const [path] = (await pair.onServer(["sh", "-c", "command -v sshd"]))
    .split("\n");
  // What root's shell does at its start here is none of the test's business.
  const sshd = pair.spawn(
    pair.server,
    [
      ...["unshare", "-m", "sh", "-c"],
      'mount -t tmpfs tmpfs "$(getent passwd root | cut -d: -f6)" && exec "$@"',
      ...["sh", path!, "-D", "-e", "-f", `${folder}/sshd_config`],
    ],
    "pipe",
  );
  await new Promise<void>((resolve, reject) => {
    let said = "";
    sshd.stderr!.on("data", (bytes) => {
      said += bytes;
      if (said.includes("Server listening")) resolve();
    });
    sshd.on("exit", () => reject(new Error(`no sshd: ${said}`)));
  });
  const proxy = scriptCommand("../../main.ts", "proxy", "home", "%h", "%p");
  const [kind, key] = readFileSync(`${folder}/host.pub`, "utf8").split(" ");
  write(join(folder, "known_hosts"), `home ${kind} ${key}\n`);
  write(
    join(folder, "ssh_config"),
    `Host home
    HostName ${SERVER[4]}
    HostKeyAlias home
    User root
    IdentityFile ${folder}/user
    IdentitiesOnly yes
    BatchMode yes
    UserKnownHostsFile ${folder}/known_hosts
    ProxyCommand ${proxy.join(" ")}
`,
  );
}

function write(path: string, text: string | Uint8Array): void {
  writeFileSync(path, text, { mode: 0o600 });
  chmodSync(path, 0o600);
}

scene("ssh runs a command through the proxy, binary-clean", async (scene) => {
  const { client, folder, opened } = scene;
  const ssh = ["ssh", "-F", `${folder}/ssh_config`, "home"];
  assertEquals(await client([...ssh, "echo hello; exit 7"]), {
    code: 7,
    stdout: "hello\n",
    stderr: "",
  });
  assertEquals(opened(), 1, scene.program.log);

  const file = join(folder, "bytes");
  write(file, BYTES);
  const sum = (await client(["sha256sum", file])).stdout.split(" ")[0]!;
  const up = await client([
    "sh",
    "-c",
    `${ssh.join(" ")} sha256sum < ${file}`,
  ]);
  assertEquals([up.code, up.stdout.split(" ")[0]], [0, sum]);
  const down = await client([
    "sh",
    "-c",
    `${ssh.join(" ")} cat ${file} | sha256sum`,
  ]);
  assertEquals([down.code, down.stdout.split(" ")[0]], [0, sum]);
  assertEquals(opened(), 1, scene.program.log);
  const state = statSync(join(folder, "memory/knock/client/home.tcp-22.json"));
  assertEquals(state.mode & 0o777, 0o600);
});

scene("scp and git go through the proxy", async (scene) => {
  const { client, folder, opened } = scene;
  write(join(folder, "bytes"), BYTES);
  const said = await client([
    "scp",
    "-F",
    `${folder}/ssh_config`,
    `${folder}/bytes`,
    `home:${folder}/copy`,
  ]);
  assertEquals([said.code, said.stderr], [0, ""]);
  assertEquals(new Uint8Array(readFileSync(join(folder, "copy"))), BYTES);

  const repository = join(folder, "repository");
  const made = await client([
    "sh",
    "-c",
    `git init -q ${repository} && cd ${repository} && cp ${folder}/bytes . &&
     git add bytes && git -c user.name=x -c user.email=x@localhost commit -qm x`,
  ]);
  assertEquals(made.code, 0, made.stderr);
  const clone = await client(
    ["git", "clone", "-q", `home:${repository}`, `${folder}/clone`],
  );
  assertEquals([clone.code, clone.stderr], [0, ""]);
  assertEquals(
    new Uint8Array(readFileSync(join(folder, "clone/bytes"))),
    BYTES,
  );
  assertEquals(opened(), 1, scene.program.log);
});

scene("ten connections at once need one knock", async (scene) => {
  const { client, folder, opened } = scene;
  const said = await Promise.all(Array.from(
    { length: 10 },
    (_, index) =>
      client(["ssh", "-F", `${folder}/ssh_config`, "home", `echo ${index}`]),
  ));
  assertEquals(
    said.map(({ code, stdout, stderr }) => [code, stdout, stderr]),
    said.map((_, index) => [0, `${index}\n`, ""]),
  );
  assertEquals(opened(), 1, scene.program.log);
});

scene(
  "a remembered grant that was closed is knocked for anew",
  async (scene) => {
    const { client, folder, opened } = scene;
    const ssh = ["ssh", "-F", `${folder}/ssh_config`, "home", "true"];
    assertEquals((await client(ssh)).code, 0);
    const knock = scriptCommand("../../main.ts", "close", "home");
    assertEquals((await client(knock)).code, 0);
    assertEquals((await client(ssh)).code, 0);
    assertEquals(opened(), 2);
  },
);

scene(
  "ssh that goes away early leaves nothing behind, and no words",
  async (scene) => {
    const { client, pair } = scene;
    const proxy = scriptCommand(
      "../../main.ts",
      "proxy",
      "home",
      SERVER[4],
      "22",
    ).join(" ");
    // The reader is gone after the first bytes of sshd's greeting.
    const early = await client(
      ["sh", "-c", `sleep 3 | ${proxy} | head -c 4`],
    );
    assertEquals(early, { code: 0, stdout: "SSH-", stderr: "" });
    // The writer ends at once: sshd closes, and so does the proxy.
    const ended = await client(["sh", "-c", `${proxy} < /dev/null`]);
    assertEquals([ended.code, ended.stderr], [0, ""]);
    assertMatch(ended.stdout, /^SSH-2\.0-/);
    const list = `ip netns pids ${pair.client} | xargs -r ps -o args= -p`;
    const left = await pair.exec(pair.client, ["sh", "-c", list]);
    const proxies = left.stdout.split("\n")
      .filter((line) => line.includes("main.ts proxy"));
    assertEquals(proxies, []);
  },
);

scene("a home that cannot be written to is no matter", async (scene) => {
  const { client, folder, opened } = scene;
  write(join(folder, "memory"), "a file in the place of the folder");
  const ssh = ["ssh", "-F", `${folder}/ssh_config`, "home", "true"];
  for (const _ of [1, 2]) {
    const { code, stderr } = await client(ssh);
    assertEquals([code, stderr], [0, ""]);
  }
  assertEquals(opened(), 2);
});

scene(
  "exec runs a command when it is open, and passes its end",
  async (scene) => {
    const { client, program, opened } = scene;
    const exec = (...args: string[]) =>
      client(
        scriptCommand("../../main.ts", "exec", "home", ...args),
        "input\n",
      );
    const argv = ["--open", "tcp/22", "--", "sh", "-c"];
    assertEquals(await exec(...argv, "cat; echo words >&2; exit 9"), {
      code: 9,
      stdout: "input\n",
      stderr: "words\n",
    });
    assertEquals((await exec(...argv, "kill -TERM $$")).code, 128 + 15);
    assertEquals(opened(), 2);
    const missing = await exec("--open", "tcp/22", "--", "no-such-program");
    assertEquals(missing.code, 1);
    assertMatch(missing.stderr, /cannot run "no-such-program"/);
    // Signals reach the command.
    const both = await client([
      "sh",
      "-c",
      `${
        scriptCommand("../../main.ts", "exec", "home", "--").join(" ")
      } sh -c 'trap "echo got; exit 3" TERM; echo ready; while :; do sleep 0.1; done' > ${program.folder}/out & pid=$!
     until grep -q ready ${program.folder}/out; do sleep 0.1; done
     kill -TERM $pid; wait $pid; echo $?; cat ${program.folder}/out`,
    ]);
    assertEquals(both.stdout, "3\nready\ngot\n");
  },
);

scene("--keep renews before the end, and ends with 0", async (scene) => {
  const { client, pair, folder, opened } = scene;
  const keep = scriptCommand(
    "../../main.ts",
    "home",
    "--open",
    "tcp/22",
    "--for",
    "2s",
    "--keep",
    "--close",
  );
  const kept = client([
    "sh",
    "-c",
    `${keep.join(" ")} & pid=$!; echo $pid > ${folder}/pid
     sleep 5; kill -INT $pid; wait $pid`,
  ]);
  for (const waitMs of [2000, 1500, 1000]) {
    await pass(waitMs);
    assert(await pair.canReach(CLIENTS[4][0]!, 22), "still open");
  }
  assertEquals(await kept, { code: 0, stdout: "", stderr: "" });
  assert(opened() >= 3, `${opened()} knocks`);
  assert(!await pair.canReach(CLIENTS[4][0]!, 22), "closed at the end");
});
