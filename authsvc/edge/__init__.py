"""The socket and the process: the HTTP protocol, its limits, the fast path, the server and its workers.

uvicorn is pinned to the tested minor release, because the edge relies on parts of it that are not its public interface:

- `HttpToolsProtocol`: the parser's callbacks, `scope`, `cycle`, `pipeline`, `headers`, `url`, `app`, `flow`, `tasks`,
  `connections`, `expect_100_continue`, `server_state`, `app_state`, `_start_asgi_task`, `on_response_complete`.
- `RequestResponseCycle`: `scope`, `body`, `more_body`, `message_event`, `keep_alive`, `disconnected`,
  `response_started`, `response_complete`. The fast path's cycle has all of them but `body`.
- Of the parser: `get_method`, `get_http_version`, `should_upgrade`, `should_keep_alive`, and the offset in its
  `HttpParserUpgrade`.
- `STATUS_LINE`, and `FlowControl.resume_reading`.
- `Server`: `handle_exit`, `capture_signals`, `startup`, `shutdown`, `_captured_signals`, `lifespan.state`.
- `supervisors.multiprocess.Process`: `_server`, `parent_conn`, `child_conn`, `ping`, `wait_until_ready`.

`tests/edge/test_uvicorn.py` compares this list with uvicorn.
"""
