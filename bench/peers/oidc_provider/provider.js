// A node oidc-provider whose models live in Redis, one key each, its opaque access tokens among them.
import Redis from 'ioredis';
import Provider from 'oidc-provider';

const { BENCH_STORE_SOCKET, BENCH_PORT } = process.env;

// Pipelining made it somewhat faster here, so it may.
export const redis = new Redis(BENCH_STORE_SOCKET, { enableAutoPipelining: true });

class Adapter {
  constructor(model) {
    this.prefix = `oidc:${model}:`;
  }

  async upsert(id, payload, expiresIn) {
    const expiry = expiresIn ? ['EX', expiresIn] : [];
    await redis.set(this.prefix + id, JSON.stringify(payload), ...expiry);
  }

  async find(id) {
    const stored = await redis.get(this.prefix + id);
    return stored ? JSON.parse(stored) : undefined;
  }

  async destroy(id) {
    await redis.del(this.prefix + id);
  }
}

export const provider = new Provider(`http://127.0.0.1:${BENCH_PORT}`, {
  adapter: Adapter,
  clients: [
    { client_id: 'app', client_secret: 'a'.repeat(32), redirect_uris: ['https://app.example/cb'] },
    {
      client_id: 'resource',
      client_secret: 's'.repeat(32),
      grant_types: [],
      response_types: [],
      redirect_uris: [],
    },
  ],
  cookies: { keys: ['k'.repeat(32)] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
  },
  ttl: { AccessToken: 86400, Grant: 86400 },
});
