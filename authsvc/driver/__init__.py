"""The connection to Redis or Valkey, in every topology. Only this package imports redis and hiredis.

`connection` is the entrance. The other modules, from the outside to the inside:

| module                      | holds                                                       |
| --------------------------- | ----------------------------------------------------------- |
| `topology`, `cluster`       | sending commands to the right server                        |
| `cluster_map`               | the node of each slot                                       |
| `reader`, `cluster_reader`  | the shared reads of introspection                           |
| `tracking`                  | the announcements of changed keys                           |
| `node`                      | one server and its connections                              |
| `rights`                    | what the store's ACL denies                                 |
| `watch`                     | the check that a server is still the primary                |
| `breaker`                   | failing fast while a server does not answer                 |
| `redis_py`, `sentinel`      | connections and pools, made of redis-py's classes           |
| `deadline`, `timeouts`      | the time that a call and a request may take                 |
| `durability`                | WAIT and WAITAOF                                            |
| `failures`, `diagnosis`     | StoreUnavailable, and what is wrong, for the operator       |
| `errors`, `scripts`, `urls` | redis-py's errors; Lua scripts; the URL of a store          |

The package uses parts of redis-py that are private or undocumented, so redis is pinned to a minor version:

| part of redis-py                                                       | used in                          |
| ---------------------------------------------------------------------- | -------------------------------- |
| `AbstractConnection._parser.set_invalidation_push_handler`             | `redis_py`                       |
| `AbstractConnection.on_connect_check_health`, overridden               | `redis_py`                       |
| the arguments `check_health` and `push_request` of a connection        | `node`, `reader`, `tracking`     |
| `BlockingConnectionPool.make_connection`, `connection_kwargs`          | `node`, `watch`                  |
| `BlockingConnectionPool.update_active_connections_for_reconnect`       | `node`                           |
| `BlockingConnectionPool` and `SentinelConnectionPool` as bases of one  | `sentinel`                       |
| `Sentinel.sentinels`, reordered by `discover_master`                   | `sentinel`                       |
"""
