/** The program for Node.js, Deno and Bun: `knock` of the npm package, and `knock.js`. */
import "./bytes.ts";
import process from "node:process";

/** Oldest release of Node.js that has all that the program needs. */
const NODE = 22;

// Deno and Bun report a version of Node.js, too, and a newer one.
const version = process.versions.node;
if (Number.parseInt(version) < NODE) {
  process.stderr.write(
    `knock: error: knock needs Node.js ${NODE} or newer, Deno or Bun: this is Node.js ${version}\n`,
  );
  process.exitCode = 1;
} else {
  // The bundler takes import.meta.main of main.ts for false here.
  import("../../main.ts").then(({ main }) => main());
}
