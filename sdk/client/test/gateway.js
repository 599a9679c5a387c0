/** A gateway in front of the service, with faults that a test switches on. */

import http from "node:http";

/**
 * fault: called with the path of each request. It returns undefined to pass it on, "lose" to pass it on and lose the
 * answer, or an answer `{status, headers, body}`; or a promise of one of these.
 */
export async function startGateway(service) {
  const gateway = { fault: () => undefined, paths: [] };
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    gateway.paths.push(request.url);
    const fault = await gateway.fault(request.url);
    if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? "");
      return;
    }
    const passed = { method: request.method, headers: request.headers };
    const sent = http.request(service.url + request.url, passed, (answer) => {
      if (fault === "lose") {
        answer.resume();
        answer.on("end", () => request.socket.destroy());
        return;
      }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    sent.on("error", () => request.socket.destroy());
    sent.end(Buffer.concat(chunks));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  gateway.url = `http://127.0.0.1:${server.address().port}`;
  gateway.count = (path) => gateway.paths.filter((one) => one === path).length;
  gateway.reset = () => {
    gateway.fault = () => undefined;
    gateway.paths.length = 0;
  };
  gateway.close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return gateway;
}
