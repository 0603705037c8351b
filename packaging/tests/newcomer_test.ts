/**
 * README's quick start, to the letter, in two Debian systems that have nothing
 * but ssh, ufw and the package: its commands are read from README.md.
 * KNOCK_NEWCOMER_ROOT names a folder to keep the system in, for the next time.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ChildProcess } from "node:child_process";
import {
  appendFileSync,
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
import { VERSION } from "../../lib/values/program.ts";
import { CLIENTS, netnsTest, SERVER } from "../../tests/netns/netns.ts";
import { build, MACHINE, ROOT, run } from "./build.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const machine = MACHINE === "linux-arm64" ? "arm64" : "amd64";
const deb = `knock_${VERSION}_${machine}.deb`;
const HOST = "host.example.org";
const MOST_TYPED = 10;
const ADMIN = 8443;

/** A block of the quick start: its language, and where its lines are typed. */
interface Block {
  readonly language: string;
  readonly place: "server" | "laptop" | "";
  readonly lines: readonly string[];
}

/** Blocks of README's quick start, in their order. */
function quickStart(): Block[] {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const section = /^## Quick start.*?(?=^## )/ms.exec(readme)![0];
  return [...section.matchAll(/^ *```(\w*)\n(.*?)^ *```$/gms)].map(
    ([, language, text]) => {
      const lines = text!.replaceAll(/^ {3}/gm, "").trimEnd().split("\n");
      const [, place = ""] = /^# on the (server|laptop)/.exec(lines[0]!) ?? [];
      return {
        language: language!,
        place: place as Block["place"],
        lines: place === "" ? lines : lines.slice(1),
      };
    },
  );
}

/** The argv of a command of the shell in a system, with /proc and /dev of its own. */
function inRoot(root: string, command: string): string[] {
  return [
    ...["unshare", "--mount", "sh", "-c"],
    `mount -t proc none "$0/proc" && mount --rbind /dev "$0/dev" &&
     mount -t tmpfs none "$0/run" && mkdir "$0/run/sshd" &&
     exec chroot "$0" /usr/bin/env -i HOME=/root DEBIAN_FRONTEND=noninteractive \\
       PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c "cd; $1"`,
    root,
    command,
  ];
}

netnsTest(
  "README's quick start hides ssh, opens it, and takes it all back",
  async (pair) => {
    const scratch = mkdtempSync(join(tmpdir(), "knock-newcomer-"));
    const kept = process.env["KNOCK_NEWCOMER_ROOT"] ?? join(scratch, "kept");
    const roots = {
      server: join(scratch, "server"),
      laptop: join(scratch, "laptop"),
    };
    const children: ChildProcess[] = [];
    const start = (command: string, ready: string) => {
      const child = pair.spawn(
        pair.server,
        inRoot(roots.server, `exec ${command}`),
        "pipe",
      );
      children.push(child);
      return new Promise<ChildProcess>((resolve, reject) => {
        let said = "";
        child.stderr!.on("data", (bytes) => {
          said += `${bytes}`;
          if (said.includes(ready)) resolve(child);
        });
        child.on("close", () => reject(new Error(`${command}: ${said}`)));
      });
    };
    const type = async (place: "server" | "laptop", line: string) => {
      const netns = place === "server" ? pair.server : pair.client;
      const typed = line.replace("VERSION_amd64", `${VERSION}_${machine}`);
      const said = await pair.exec(netns, inRoot(roots[place], typed));
      assertEquals(said.code, 0, `${line}: ${said.stdout}${said.stderr}`);
      return said.stdout;
    };
    try {
      if (!existsSync(join(kept, "usr/bin/dpkg"))) {
        run("debootstrap", [
          "--variant=minbase",
          "--include=nftables,systemd,ufw,openssh-server,openssh-client",
          ...["bookworm", kept],
        ]);
      }
      const { folder } = build(`${MACHINE},deb`);
      for (const root of Object.values(roots)) {
        run("cp", ["-a", kept, root]);
        copyFileSync(join(folder, deb), join(root, "root", deb));
        // Enter, at a question.
        writeFileSync(join(root, "etc/apt/apt.conf.d/yes"), ASSUME_YES);
        appendFileSync(join(root, "etc/hosts"), `${SERVER[4]} ${HOST}\n`);
      }
      rmSync(folder, { recursive: true });
      writeFileSync(join(roots.server, "usr/local/bin/systemctl"), SYSTEMCTL, {
        mode: 0o755,
      });
      await logIn(roots, type);
      await start("/usr/sbin/sshd -D -e -o PidFile=none", "listening on");
      await pair.serve("tcp", ADMIN);
      const reach = (port: number, from: string = HERE) =>
        pair.canReach(from, port);

      const blocks = quickStart();
      const typed = (place: string) =>
        blocks.filter((block) => block.place === place)
          .flatMap(({ lines }) => lines);
      assertEquals(typed("server").filter((line) => /^knock init/.test(line)), [
        "knock init",
      ]);
      const toSsh = blocks.slice(
        0,
        blocks.findIndex(({ place }) => place === "laptop") + 1,
      ).flatMap(({ lines }) => lines);
      assert(toSsh.length <= MOST_TYPED, `${toSsh.length} lines`);

      let enrolment = "";
      let trial: ChildProcess | null = null;
      for (const { language, place, lines } of blocks) {
        if (language === "yaml") {
          const file = join(roots.server, "etc/knock/server.yaml");
          const text = readFileSync(file, "utf8");
          const added = lines.join("\n");
          const edited = text.replace("services:\n  ssh: tcp/22", added);
          assert(edited !== text, text);
          writeFileSync(file, edited);
        } else if (place === "") {
          mkdirSync(join(roots.laptop, "root/.ssh"), { recursive: true });
          const file = join(roots.laptop, "root/.ssh/config");
          appendFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
          await type("laptop", "knock close laptop");
          assert(!await reach(22), "closed again");
          await type("laptop", `ssh ${HOST} true`);
        }
        if (language !== "sh" || place === "") continue;
        for (const line of lines) {
          if (line.startsWith("knock serve")) {
            assert(await reach(22), "nothing is closed yet");
            trial = await start(line, "listens on");
            assert(!await reach(22), "hidden");
          } else if (line === "knock import") {
            await type("laptop", `printf '%s' '${enrolment}' | ${line}`);
          } else if (line.startsWith("knock laptop && ssh")) {
            await type("laptop", `${line} true`);
            assert(!await reach(22, NEIGHBOUR), "for nobody else");
          } else if (line.startsWith("systemctl enable --now")) {
            const ended = new Promise((resolve) => trial!.on("close", resolve));
            trial!.kill("SIGINT");
            await ended;
            assert(!await reach(22, NEIGHBOUR), "still hidden");
            await type("server", line);
            await start("knock serve", "listens on");
          } else {
            if (line === "knock rules --remove") await stop(children.pop()!);
            const out = await type(place, line);
            if (line.startsWith("knock client add")) {
              assertMatch(out, /^knock:\/\/\S+#laptop\n$/);
              enrolment = out.trim();
            }
          }
          if (line.startsWith("knock client set")) {
            assert(!await reach(ADMIN), "the second service is hidden");
            await type("laptop", "knock laptop");
            assert(await reach(ADMIN) && !await reach(ADMIN, NEIGHBOUR));
          }
        }
      }
      assert(await reach(22, NEIGHBOUR), "all is undone");
      assert(!existsSync(join(roots.server, "etc/knock")), "purged");
    } finally {
      for (const child of children) await stop(child);
      rmSync(scratch, { recursive: true, force: true });
    }
  },
  ["debootstrap", "chroot"],
  300_000,
);

const ASSUME_YES = 'APT::Get::Assume-Yes "true";\n';

/** Real systemctl, but for --now: there is no systemd in a chroot. */
const SYSTEMCTL = `#!/bin/sh
for word; do
  shift
  [ "$word" = --now ] || set -- "$@" "$word"
done
exec /usr/bin/systemctl "$@"
`;

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.on("close", resolve));
  child.kill("SIGTERM");
  await ended;
}

/** Gives the laptop a key for ssh, which the server takes. */
async function logIn(
  roots: { readonly server: string; readonly laptop: string },
  type: (place: "server" | "laptop", line: string) => Promise<string>,
): Promise<void> {
  await type(
    "laptop",
    "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519",
  );
  const key = readFileSync(join(roots.laptop, "root/.ssh/id_ed25519.pub"));
  mkdirSync(join(roots.server, "root/.ssh"), { recursive: true, mode: 0o700 });
  writeFileSync(join(roots.server, "root/.ssh/authorized_keys"), key, {
    mode: 0o600,
  });
  writeFileSync(
    join(roots.laptop, "etc/ssh/ssh_config.d/test.conf"),
    "StrictHostKeyChecking no\nBatchMode yes\n",
  );
}
