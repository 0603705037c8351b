/** Entry `.` of the npm package. */
import "./bytes.ts";
export * from "../../mod.ts";
