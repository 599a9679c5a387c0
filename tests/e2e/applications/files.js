// A Node application. Usage: node files.js PORT url|files
// url: routes on what `new URL` makes of the target. files: decodes and normalises the path, as servers of files do.
const http = require('http');
const path = require('path');

const [port, kind] = process.argv.slice(2);

function taken(target) {
  if (kind === 'url') return new URL(target, 'http://application').pathname;
  try {
    return path.normalize(decodeURIComponent(target.split(/[?#]/)[0]).replace(/\\/g, '/'));
  } catch {
    return target;
  }
}

http.createServer((request, response) => {
  let where;
  try {
    where = taken(request.url);
  } catch {
    where = '/malformed';
  }
  const [first] = where.replace(/^\/+/, '').toLowerCase().split('/');
  response.setHeader('X-Area', ['edit', 'public'].includes(first) ? first : 'other');
  response.end();
}).listen(Number(port), '127.0.0.1');
