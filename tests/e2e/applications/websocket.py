"""A Tornado application with WebSockets: it sends the fields of the handshake, then each message back. Usage: PORT"""

import asyncio
import json
import sys

from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Echo(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return True  # the gateway has to

    def open(self, *_: str) -> None:
        self.write_message(json.dumps(list(self.request.headers.get_all())))

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message, binary=isinstance(message, bytes))


async def main() -> None:
    Application([("/.*", Echo)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()


asyncio.run(main())
