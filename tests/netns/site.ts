/** A website inside a namespace: the argument is its port; each page says its path. */

import { createServer } from "node:http";
import process from "node:process";

createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" });
  response.end(`<title>site</title>the site of ${request.url}`);
}).listen(
  Number(process.argv[2]),
  "::",
);
