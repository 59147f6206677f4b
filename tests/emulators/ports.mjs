// TCP ports on the loopback interface.
import { createServer } from "node:net";

// Listens on a free port, or on the given one, and returns it.
export function listen(server, port = 0) {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => resolve(server.address().port));
  });
}

// Returns `count` different ports that were free when they were checked.
export async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(servers.map((server) => listen(server)));
  await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))));
  return ports;
}
