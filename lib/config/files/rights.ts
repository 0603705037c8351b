/**
 * The rights of files that hold secrets or policies: who could
 * read or change them, and how they are written. As sshd's StrictModes.
 * @module
 */

import type { FileInfo, Place, Runtime, Way } from "../../runtime/runtime.ts";
import { FailureError, SystemError } from "../../values/errors.ts";
import { folderOf } from "./places.ts";

/** Permission bits by which others could read or change a file. */
const OTHERS = 0o066;
/** The one of them that root may give the server's group. */
const GROUP_READS = 0o040;
/** Permission bits by which others could change a file, or what is in a folder. */
const OTHERS_WRITE = 0o022;
/** In such a folder users cannot replace each other's files, as in /tmp. */
const STICKY = 0o1000;

/** For the owner alone. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** In a folder of root's that the server's group reads. */
const SHARED_FILE_MODE = 0o640;
const SHARED_FOLDER_MODE = 0o750;

/** A file, or a place on its way, with wrong rights, and the command that mends them. */
export interface PlaceMistake {
  readonly place: string;
  readonly text: string;
  readonly hint: string;
}

/** The mistake by which others may read a secret, or change it; null if there is none. */
export function rightsMistake(
  runtime: Runtime,
  file: string,
  { mode, owner, group }: Omit<FileInfo, "isFile" | "isFolder" | "size">,
): PlaceMistake | null {
  if (mode === null || (mode & OTHERS) === 0) return null;
  const shared = (mode & OTHERS) === GROUP_READS && owner === 0;
  const own = runtime.groupId();
  if (shared && (group === own || group === serverGroup(runtime, file))) {
    return null;
  }
  const isService = shared && runtime.userId() !== 0 && own !== null;
  return {
    place: file,
    text: `must be closed to other users as it holds secrets, got mode "0${
      (mode & 0o777).toString(8)
    }"`,
    hint: isService ? `chgrp ${own} ${file}` : `chmod 600 ${file}`,
  };
}

/**
 * The mistake by which others may put another file in a file's place: it, a
 * folder or a link on its way belongs to neither root nor this user, or others
 * can write there. Null if there is none: then it stays so. Where there is no
 * file, the folders that exist are judged, and others may make the rest.
 */
export function placeMistake(
  runtime: Runtime,
  file: string,
): PlaceMistake | null {
  return judge(runtime, runtime.files.way(file));
}

function judge(runtime: Runtime, { places }: Way): PlaceMistake | null {
  const user = runtime.userId();
  if (user === null) return null;
  for (const place of places) {
    const { path, owner, mode, isLink } = place;
    if (owner !== 0 && owner !== user) {
      return {
        place: path,
        text: `must belong to root${
          user === 0 ? "" : ` or to user id ${user}`
        }, got user id ${owner}`,
        hint: `chown ${isLink ? "-h " : ""}${
          user === 0 ? "root" : user
        } ${path}`,
      };
    }
    if (!isLink && othersWrite(runtime, place)) {
      return {
        place: path,
        text: `must not be writable by other users, got mode "0${
          (mode! & 0o777).toString(8)
        }"`,
        hint: `chmod go-w ${path}`,
      };
    }
  }
  return null;
}

/**
 * Why what a file holds is not to be believed, or is no secret any more; null
 * if nothing speaks against it. For files that are there, before they are read.
 */
export function trustMistake(
  runtime: Runtime,
  file: string,
  { secret }: { readonly secret: boolean },
): PlaceMistake | null {
  // In one walk: a whole way that no other user can change stays as it was.
  const way = runtime.files.way(file);
  const mistake = judge(runtime, way);
  // First of all: who can change a folder can put anything there.
  if (mistake && mistake.place !== file) return mistake;
  const info = runtime.files.stat(file);
  const rights = secret && info ? rightsMistake(runtime, file, info) : null;
  if (rights) return rights;
  if (mistake || way.isWhole) return mistake;
  return { place: file, text: "is missing now", hint: "try again" };
}

/**
 * Throws FailureError where others could change a file or what is made in its
 * place, and SystemError where its folder is missing.
 */
export function checkPlace(runtime: Runtime, file: string): void {
  const folder = folderOf(runtime, file);
  const way = runtime.files.way(folder);
  refuse(judge(runtime, way));
  // Others could still make the folder that is not there.
  if (!way.isWhole) {
    throw new SystemError("ENOENT", `no such folder: ${folder}`);
  }
  refuse(placeMistake(runtime, file));
}

function refuse(mistake: PlaceMistake | null): void {
  if (!mistake) return;
  throw new FailureError(`${mistake.place}: ${mistake.text}`, mistake.hint);
}

/**
 * Makes a new file of the configuration. Throws FailureError where others
 * could put another in its place, and SystemError; EEXIST if there is one.
 */
export function createOwn(
  runtime: Runtime,
  file: string,
  data: string | Uint8Array,
): void {
  checkPlace(runtime, file);
  const group = serverGroup(runtime, file);
  const mode = group === undefined ? FILE_MODE : SHARED_FILE_MODE;
  runtime.files.create(file, data, mode, group);
}

/** Replaces a file of the configuration, or of this user's. Throws as {@linkcode createOwn}. */
export function replaceOwn(runtime: Runtime, file: string, data: string): void {
  checkPlace(runtime, file);
  const group = serverGroup(runtime, file);
  const mode = group === undefined ? FILE_MODE : SHARED_FILE_MODE;
  runtime.files.replace(file, data, mode, group);
}

/** Makes a folder for such files, where there is none. Throws as {@linkcode createOwn}. */
export function makeOwnFolder(runtime: Runtime, folder: string): void {
  refuse(placeMistake(runtime, folder));
  const group = serverGroup(runtime, folder);
  const mode = group === undefined ? FOLDER_MODE : SHARED_FOLDER_MODE;
  runtime.files.makeFolder(folder, mode, group);
}

/**
 * Has root work with the rights of a folder's owner, who could put a link in
 * the place of any file there while root opens it; of the nearest folder above,
 * where there is none. Calling the result ends it.
 */
export function asOwner(runtime: Runtime, folder: string): () => void {
  const found = runtime.files.way(folder).places.at(-1);
  if (runtime.userId() !== 0 || !found?.owner) return () => {};
  const acting = runtime.actAs(found.owner, found.group!);
  return () => acting.stop();
}

/**
 * The group that reads what root writes into a file's folder: the folder is
 * root's, and root gave it to that group to read, and to nobody else, as the
 * package does with /etc/knock.
 */
function serverGroup(runtime: Runtime, file: string): number | undefined {
  if (runtime.userId() !== 0) return undefined;
  const folder = runtime.files.stat(folderOf(runtime, file));
  if (!folder || folder.owner !== 0 || !folder.group) return undefined;
  return (folder.mode! & 0o077) === 0o050 ? folder.group : undefined;
}

/** True if others than root and this user can write there. */
function othersWrite(
  runtime: Runtime,
  { mode, isFolder, owner, group }: Place,
): boolean {
  const bits = mode! & OTHERS_WRITE;
  if (bits === 0) return false;
  if (isFolder && (mode! & STICKY) !== 0) return false;
  // A user's private group, which has the user's own number and no other member.
  const user = runtime.userId();
  const isPrivate = user !== 0 && owner === user && group === user &&
    runtime.groupId() === user;
  return !(isFolder && isPrivate && bits === 0o020);
}
