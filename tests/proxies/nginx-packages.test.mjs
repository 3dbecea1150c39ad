// The files for Nginx Proxy Manager and SWAG, which are nginx with settings of their own. Debian's
// nginx runs the files within these settings. The packages themselves are not run.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { BATCHES, LAYOUTS } from './cases.mjs';
import { CLIENT_ID, ROOT, Stack, connects, freePort, idToken, send, substitute } from './stack.mjs';

const deploy = (name) => fs.readFileSync(path.join(ROOT, 'deploy', name), 'utf8');

/** The server that Nginx Proxy Manager writes around the text in Advanced, with WebSockets support. */
const managed = (name, advanced, { port, tls, to }) => `server {
  set $forward_scheme http; set $server "127.0.0.1"; set $port ${to};
  listen 127.0.0.1:${port} ssl; server_name ${name}; ${tls}
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection; proxy_http_version 1.1;
  ${advanced}
}`;

const PACKAGES = {
  'Nginx Proxy Manager': (at) => ({
    http: `proxy_http_version 1.1; proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header Accept-Encoding "";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; client_max_body_size 2000m;
      proxy_send_timeout 90s; proxy_read_timeout 90s; proxy_connect_timeout 90s;
      map $host $forward_scheme { default http; }`,
    sites: managed('auth.example.com', deploy('nginx-proxy-manager/advanced-auth.conf'), { ...at, to: at.hallpass })
      + managed('app.example.com', deploy('nginx-proxy-manager/advanced-app.conf'), { ...at, to: at.app }),
  }),
  SWAG: (at) => ({
    http: `client_max_body_size 0; resolver 127.0.0.1; map $http_upgrade $connection_upgrade { default upgrade; '' close; }`,
    sites: substitute(deploy('swag/app.subdomain.conf'), [
      ['listen [::]:443 ssl;', ''],
      ['listen 443 ssl;', `listen 127.0.0.1:${at.port} ssl;`],
      ['include /config/nginx/ssl.conf;', at.tls],
      ['include /config/nginx/resolver.conf;', ''],
      ['set $upstream_app app;', 'set $upstream_app 127.0.0.1;'],
      ['set $upstream_port 3000;', `set $upstream_port ${at.app};`],
    ]),
  }),
};

async function start(stack, name, { hallpass, app }) {
  const [port, { cert, key }] = [await freePort(), stack.certificate()];
  const at = { port, hallpass, app, tls: `ssl_certificate ${cert}; ssl_certificate_key ${key};` };
  const folder = fs.mkdtempSync(path.join(stack.folder, 'nginx-'));
  fs.cpSync(path.join(ROOT, 'deploy/nginx/snippets'), path.join(folder, 'snippets'), { recursive: true });
  const shared = substitute(deploy('nginx/hallpass.conf'), [['server 127.0.0.1:8080;', `server 127.0.0.1:${hallpass};`]]);
  const { http, sites } = PACKAGES[name](at);
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${folder}/${kind};`).join(' ');
  fs.writeFileSync(`${folder}/nginx.conf`, `${process.getuid() === 0 ? 'user root;' : ''} daemon off; worker_processes 1;
    pid ${folder}/nginx.pid; error_log stderr; events {}\nhttp { access_log off; ${temporary}\n${http}\n${shared}\n${sites}\n}`);
  const args = ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', 'stderr'];
  const program = await stack.program(process.env.NGINX_BIN ?? 'nginx', args, () => connects(port));
  return { port, output: () => program.output };
}

for (const name of Object.keys(PACKAGES)) {
  describe(name, () => {
    const stack = new Stack();
    after(() => stack.stop());

    it('guards the app as nginx does', async () => {
      const google = await stack.google();
      const app = await stack.app();
      const hallpass = await stack.hallpass(['--client-id', CLIENT_ID, '--tokeninfo-url', google.url, '--allow-domain',
        'example.com', ...LAYOUTS['auth-subdomain'].flags]);
      const { port, output } = await start(stack, name, { hallpass: hallpass.port, app: app.port });
      const get = (host, target, ...headers) => send(port, host, target, { headers });
      const signedIn = await send(port, 'auth.example.com', '/auth/signin', {
        method: 'POST', headers: [['Content-Type', 'application/json']],
        body: JSON.stringify({ id_token: idToken({ sub: '1', hd: 'example.com', email: 'ada@example.com', email_verified: true }) }),
      });
      assert.equal(signedIn.status, 200, signedIn.text);
      const cookie = ['Cookie', `a=1; __Secure-hallpass=${signedIn.json.session.token}`];

      const page = await get('app.example.com', '/a%20b?c=d&e', ['Accept', 'text/html'], ['Sec-Fetch-Mode', 'navigate']);
      assert.equal(page.status, 302);
      assert.equal(new URL(page.headers.location).searchParams.get('rd'), 'https://app.example.com/a%20b?c=d&e');
      assert.equal((await get('app.example.com', '/x', ['Accept', 'application/json'])).status, 401);
      assert.equal((await get('auth.example.com', '/metrics')).status, 404);
      assert.equal(app.requests, 0);

      for (const batch of BATCHES) {
        const answer = await get('app.example.com', '/a%20b?c=d&e', cookie, ['X-Forwarded-For', '6.6.6.6'], ...batch);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.url, '/a%20b?c=d&e');
        const headers = new Headers(answer.json.headers);
        const seen = ['remote-user', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'cookie'].map((n) => headers.get(n));
        assert.deepEqual(seen, ['ada@example.com', '127.0.0.1', 'https', 'app.example.com', 'a=1']);
        assert.ok(!/mallory|6\.6\.6\.6|hp_/.test(answer.text), answer.text);
      }
      assert.doesNotMatch(output(), /could not build|conflicting|deprecated|uninitialized|duplicate/);
    });
  });
}
