// A Node application. Usage: node files.js PORT url|files
// url: routes on what `new URL` makes of the target. files: serves files as small servers of files do, which decode the
// target, cut it at `?` and `#`, and join the rest to a folder.
const fs = require('fs');
const http = require('http');
const path = require('path');

const [port, kind] = process.argv.slice(2);
const site = fs.mkdtempSync('site-');
for (const name of ['public', 'edit', 'orders']) {
  fs.mkdirSync(path.join(site, name));
  fs.writeFileSync(path.join(site, name, 'a'), name);
  fs.writeFileSync(path.join(site, name, 'index.html'), name);
}

function area(name) {
  return ['edit', 'public', 'orders'].includes(name) ? name : 'other';
}

function routed(target) {
  return area(new URL(target, 'http://application').pathname.split('/')[1].toLowerCase());
}

function served(target) {
  const file = path.join(site, path.normalize(decodeURIComponent(target.split(/[?]/)[0]).replace(/\\/g, '/')));
  const found = [file, path.join(file, 'index.html')].find((one) => fs.existsSync(one) && fs.statSync(one).isFile());
  return found ? area(path.relative(site, found).split(path.sep)[0]) : null;
}

http.createServer((request, response) => {
  try {
    const where = kind === 'url' ? routed(request.url) : served(request.url);
    if (where) response.setHeader('X-Area', where);
    response.statusCode = where ? 200 : 404;
  } catch {
    response.statusCode = 400;
  }
  response.end();
}).listen(Number(port), '127.0.0.1');
