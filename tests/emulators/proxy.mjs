// A proxy in front of an emulator. It forwards every request unchanged, except those to routes that
// the emulator lacks, and records the responses.
import { createServer, request } from "node:http";

import { listen } from "./ports.mjs";

// Sends one request and returns `{ status, headers, body }`.
export function send(base, { method = "GET", path, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { "content-length": Buffer.byteLength(body) };
    const call = request(new URL(path, base), { method, headers: { ...headers, ...length } }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }),
      );
      response.on("error", reject);
    });
    call.on("error", reject);
    call.end(body);
  });
}

// A JSON response of a route.
export function json(value, status = 200) {
  return { status, headers: { "content-type": "application/json; charset=utf-8" }, body: JSON.stringify(value) };
}

// Routes are `{ method, path, answer }`: `path` is a pattern with `:name` for one segment, `answer`
// maps the request to a response, or to undefined, which forwards it. `sample` is a path that the
// emulator must not serve.
export async function startProxy(port, target, routes) {
  const calls = [];
  const compiled = routes.map((route) => ({
    ...route,
    pattern: new RegExp(`^${route.path.replace(/:(\w+)/g, "(?<$1>[^/]+)")}$`),
  }));
  const server = createServer(async (incoming, outgoing) => {
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const url = new URL(incoming.url, "http://proxy");
    const { method } = incoming;
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !["connection", "content-length", "transfer-encoding"].includes(name)),
    );
    const body = chunks.length > 0 ? Buffer.concat(chunks) : undefined;
    const asked = { method, path: incoming.url, headers, body };
    let answer;
    try {
      for (const route of compiled) {
        const match = route.method === method ? route.pattern.exec(url.pathname) : null;
        if (match) answer ??= await route.answer({ ...asked, url, params: match.groups ?? {} });
      }
      answer ??= await send(target, asked);
    } catch (error) {
      answer = { status: 502, headers: {}, body: String(error) };
    }
    calls.push({ method, path: url.pathname, status: answer.status });
    delete answer.headers["transfer-encoding"];
    outgoing.writeHead(answer.status, answer.headers);
    outgoing.end(answer.body);
  });
  await listen(server, port);
  return {
    calls,
    // Number of requests to each route.
    count: (method, pattern) => calls.filter((call) => call.method === method && pattern.test(call.path)).length,
    // Routes that the emulator serves, and this proxy therefore must not.
    async superfluous() {
      const known = await Promise.all(
        routes.filter((route) => route.sample).map(async ({ method, sample }) => {
          const { status } = await send(target, { method, path: sample });
          return status === 404 ? undefined : `${method} ${sample}`;
        }),
      );
      return known.filter(Boolean);
    },
    close: () => new Promise((closed) => {
      server.closeAllConnections();
      server.close(closed);
    }),
  };
}
