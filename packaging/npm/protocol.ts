/** Entry `./protocol` of the npm package. */
import "./bytes.ts";
export * from "../../protocol.ts";
