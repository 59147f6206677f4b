// A receiver that accepts all deliveries.
import { createServer } from "node:http";

// Starts one; returns its URL, the received deliveries, and a function that stops it.
export async function receive() {
  const received = [];
  const server = createServer((request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => {
      received.push({ headers: request.headers, body: JSON.parse(Buffer.concat(parts)) });
      response.end();
    });
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return { url: `http://127.0.0.1:${server.address().port}/`, received, close: () => server.close() };
}
