/**
 * The README's way in two Debian systems that have nothing but the package: a
 * service is hidden and opened again in eight commands. KNOCK_DEBIAN_ROOT names
 * a folder to keep the system in, for the next time.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { VERSION } from "../../lib/values/program.ts";
import { CLIENTS, netnsTest, SERVER } from "../../tests/netns/netns.ts";
import { build, MACHINE, run } from "./build.ts";

const [HERE, NEIGHBOUR] = CLIENTS[4];
const machine = MACHINE === "linux-arm64" ? "arm64" : "amd64";
const deb = `knock_${VERSION}_${machine}.deb`;

/** The argv of a command of the shell in a system, with /proc and /dev of its own. */
function inRoot(root: string, command: string): string[] {
  return [
    ...["unshare", "--mount", "sh", "-c"],
    `mount -t proc none "$0/proc" && mount --rbind /dev "$0/dev" &&
     exec chroot "$0" /usr/bin/env -i HOME=/root \\
       PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c "$1"`,
    root,
    command,
  ];
}

netnsTest(
  "from nothing to a hidden service and back, with the package alone",
  async (pair) => {
    const scratch = mkdtempSync(join(tmpdir(), "knock-newcomer-"));
    const kept = process.env["KNOCK_DEBIAN_ROOT"] ?? join(scratch, "kept");
    const [server, client] = ["server", "client"].map((name) =>
      join(scratch, name)
    ) as [string, string];
    try {
      if (!existsSync(join(kept, "usr/bin/dpkg"))) {
        run("debootstrap", [
          "--variant=minbase",
          "--include=nftables",
          ...["bookworm", kept],
        ]);
      }
      const { folder } = build(`${MACHINE},deb`);
      for (const root of [server, client]) {
        run("cp", ["-a", kept, root]);
        copyFileSync(join(folder, deb), join(root, "root", deb));
      }
      rmSync(folder, { recursive: true });
      await pair.serve("tcp", 22);
      const atServer = (command: string) =>
        pair.exec(pair.server, inRoot(server, command));
      const atClient = (command: string) =>
        pair.exec(pair.client, inRoot(client, command));
      const install = `dpkg -i /root/${deb}`;

      const installed = await atServer(install); // 1
      assertEquals(installed.code, 0, installed.stderr);
      assertEquals((await atServer("knock init")).code, 0); // 2
      const added = await atServer(
        `knock client add laptop --server ${SERVER[4]}`,
      ); // 3
      assertMatch(added.stdout, /^knock:\/\/\S+#laptop\n$/);
      assert(await pair.canReach(HERE, 22), "nothing is closed yet");
      const serve = pair.spawn(
        pair.server,
        inRoot(server, "exec knock serve --trial 5m"),
        "pipe",
      ); // 4
      await new Promise<void>((resolve) =>
        serve.stderr!.on(
          "data",
          (bytes) => `${bytes}`.includes("listens on") && resolve(),
        )
      );
      assert(!await pair.canReach(HERE, 22), "hidden");

      assertEquals((await atClient(install)).code, 0); // 5
      const line = added.stdout.trim();
      assertEquals((await atClient(`echo '${line}' | knock import`)).code, 0); // 6
      const knocked = await atClient("knock laptop --for 10m"); // 7
      assertEquals([knocked.code, knocked.stderr], [0, ""]);
      assert(await pair.canReach(HERE, 22, { keep: "ssh" }), "open");
      assert(!await pair.canReach(NEIGHBOUR, 22), "for nobody else");
      assertEquals((await atClient("knock close laptop")).code, 0); // 8
      assert(!await pair.canReach(HERE, 22), "hidden again");
      assert(await pair.stillTalks("ssh"), "who is in stays in");
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  },
  ["debootstrap", "chroot"],
  300_000,
);
