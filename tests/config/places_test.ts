import { test } from "node:test";
import { assertEquals, assertThrows } from "@std/assert";
import {
  defaultConfig,
  findConfig,
  needConfig,
  pathBeside,
  profilesFile,
  stateFolder,
} from "../../lib/config/files/places.ts";
import { UsageError } from "../../lib/values/errors.ts";
import { FakeRuntime } from "../fakes/fake_runtime.ts";

const USERS = "/home/alice/.config/knock/server.yaml";
const SYSTEMS = "/etc/knock/server.yaml";
const windows = () =>
  new FakeRuntime({
    platform: "windows",
    userId: null,
    env: {
      USERPROFILE: "C:\\Users\\alice",
      APPDATA: "C:\\Users\\alice\\AppData\\Roaming",
    },
  });

test("findConfig() takes the option, the variable, then the default place", () => {
  const runtime = new FakeRuntime({ files: { [USERS]: "", [SYSTEMS]: "" } });
  assertEquals(findConfig(runtime, "a.yaml"), "a.yaml");
  assertEquals(findConfig(runtime, undefined), USERS);
  runtime.environment.set("KNOCK_CONFIG", "b.yaml");
  assertEquals(findConfig(runtime, "a.yaml"), "a.yaml");
  assertEquals(findConfig(runtime, undefined), "b.yaml");
});

test("findConfig() is null where there is nothing at the default place", () => {
  assertEquals(findConfig(new FakeRuntime(), undefined), null);
  assertThrows(
    () => needConfig(new FakeRuntime(), undefined),
    UsageError,
    `there is no configuration at "${USERS}"`,
  );
});

test("defaultConfig() is root's, the user's, or the roaming one", () => {
  assertEquals(defaultConfig(new FakeRuntime({ userId: 0 })), SYSTEMS);
  assertEquals(defaultConfig(new FakeRuntime()), USERS);
  assertEquals(defaultConfig(new FakeRuntime({ platform: "darwin" })), USERS);
  assertEquals(
    defaultConfig(windows()),
    "C:\\Users\\alice\\AppData\\Roaming\\knock\\server.yaml",
  );
  const env = { HOME: "/home/alice", XDG_CONFIG_HOME: "/xdg" };
  assertEquals(
    defaultConfig(new FakeRuntime({ env })),
    "/xdg/knock/server.yaml",
  );
  assertThrows(() => defaultConfig(new FakeRuntime({ env: {} })), UsageError);
});

const folders: [
  name: string,
  options: { userId?: number; env?: Record<string, string> },
  file: string,
  written: string | null,
  folder: string,
][] = [
  ["the system's", { userId: 0 }, SYSTEMS, null, "/var/lib/knock"],
  [
    "root's without HOME",
    { userId: 0, env: {} },
    "/a/b.yaml",
    null,
    "/a/state",
  ],
  ["the user's", {}, USERS, null, "/home/alice/.local/state/knock"],
  ["another file's", {}, "/a/b.yaml", null, "/a/state"],
  ["a file's here", {}, "b.yaml", null, "state"],
  ["an absolute one", {}, SYSTEMS, "/x", "/x"],
  ["a relative one", {}, "/a/b.yaml", "x", "/a/x"],
  ["systemd's", { env: { STATE_DIRECTORY: "/s:/t" } }, SYSTEMS, null, "/s"],
  [
    "what is written before systemd's",
    { env: { STATE_DIRECTORY: "/s" } },
    SYSTEMS,
    "/x",
    "/x",
  ],
  [
    "the user's by XDG",
    {
      env: { HOME: "/home/alice", XDG_STATE_HOME: "/xdg" },
    },
    USERS,
    null,
    "/xdg/knock",
  ],
];

for (const [name, options, file, written, folder] of folders) {
  test(`stateFolder() is ${name}: ${folder}`, () => {
    assertEquals(stateFolder(new FakeRuntime(options), file, written), folder);
  });
}

test("profilesFile() takes the option, the variable, then the user's", () => {
  const runtime = new FakeRuntime({ userId: 0, env: { HOME: "/root" } });
  assertEquals(
    profilesFile(runtime, undefined),
    "/root/.config/knock/profiles.yaml",
  );
  runtime.environment.set("KNOCK_PROFILES", "p.yaml");
  assertEquals(profilesFile(runtime, undefined), "p.yaml");
  assertEquals(profilesFile(runtime, "q.yaml"), "q.yaml");
});

test("pathBeside() starts in the file's folder", () => {
  const runtime = new FakeRuntime();
  assertEquals(pathBeside(runtime, "/a/b.yaml", "c"), "/a/c");
  assertEquals(pathBeside(runtime, "b.yaml", "c"), "c");
  assertEquals(pathBeside(runtime, "/a/b.yaml", "/c"), "/c");
  assertEquals(pathBeside(windows(), "C:\\a\\b.yaml", "c"), "C:\\a\\c");
});
