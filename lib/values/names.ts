/** The names of the commands; the list is lower down for all who need it. */

export { COMMAND_NAMES } from "./program.ts";
