// Stores access tokens through the library's own models, each under its own grant, and prints them.
import { provider, redis } from './provider.js';

const count = Number(process.argv[2]);
const client = await provider.Client.find('app');
const lines = [];
for (let number = 0; number < count; number += 1) {
  const accountId = `user${String(number).padStart(7, '0')}`;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope('openid');
  const grantId = await grant.save();
  const token = new provider.AccessToken({
    accountId, client, grantId, gty: 'authorization_code', scope: 'openid',
  });
  lines.push(await token.save());
}
console.log(lines.join('\n'));
redis.disconnect();
