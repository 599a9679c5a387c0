/** An HTTP server that gives prepared responses, byte by byte, one for each connection. */

import net from "node:net";

const DEFAULTS = {
  Date: "Fri, 15 Jan 2027 08:00:00 GMT",
  "Content-Type": "application/json",
  Connection: "close",
};

export async function responder(responses) {
  const sockets = new Set();
  const state = { requests: 0 };
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    let received = "";
    let answered = false;
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      if (answered || !isWhole(received)) return;
      answered = true;
      respond(socket, responses[Math.min(state.requests++, responses.length - 1)]);
    });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    get requests() {
      return state.requests;
    },
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

function isWhole(received) {
  const end = received.indexOf("\r\n\r\n");
  const length = Number(/^content-length: *(\d+)/im.exec(received)?.[1] ?? 0);
  return end >= 0 && received.length >= end + 4 + length;
}

function respond(socket, response) {
  if (response.do === "hang") return;
  if (response.do === "close") {
    socket.destroy();
    return;
  }
  const text = response.body_latin1 === undefined ? (response.body ?? "") : response.body_latin1;
  const encoding = response.body_latin1 === undefined ? "utf8" : "latin1";
  const body = Buffer.concat([Buffer.from(text, encoding), Buffer.alloc(response.padding ?? 0, " ")]);
  const promised = response.do === "cut" ? 100 : 0;
  const headers = { ...DEFAULTS, "Content-Length": body.length + promised, ...response.headers };
  const lines = Object.entries(headers).filter(([, value]) => value !== "");
  const head = [`HTTP/1.1 ${response.status} Said`, ...lines.map(([name, value]) => `${name}: ${value}`), "", ""];
  socket.write(head.join("\r\n"));
  socket.end(body);
}
