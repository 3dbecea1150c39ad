// HAProxy with the files of deploy/haproxy.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cases, uncomment } from './cases.mjs';
import { ROOT, connects, freePort, send, substitute } from './stack.mjs';

const deploy = (name) => fs.readFileSync(path.join(ROOT, 'deploy/haproxy', name), 'utf8');

async function start(stack, layout, { hallpass, app, change = (text) => text }) {
  const [port, plain, { cert, key }] = [await freePort(), await freePort(), stack.certificate()];
  const pem = stack.file(`haproxy-${port}/cert.pem`, fs.readFileSync(cert, 'utf8') + fs.readFileSync(key, 'utf8'));
  const lua = stack.file(`haproxy-${port}/hallpass.lua`, change(deploy('hallpass.lua'), 'hallpass.lua'));
  const config = stack.file(`haproxy-${port}/haproxy.cfg`, substitute(change(deploy('haproxy.cfg'), 'haproxy.cfg'), [
    // The tests send more headers than the usual limit of 101.
    ['    user haproxy\n    group haproxy\n', '    tune.http.maxhdr 400\n'],
    ['/etc/haproxy/hallpass.lua', lua],
    ['bind :80', `bind 127.0.0.1:${plain}`],
    ['bind :443 ssl crt /etc/haproxy/certs/', `bind 127.0.0.1:${port} ssl crt ${pem}`],
    ['127.0.0.1:8080', `127.0.0.1:${hallpass}`],
    ['127.0.0.1:3000', `127.0.0.1:${app}`],
    ['127.0.0.1:3001', `127.0.0.1:${app}`],
  ]));
  const program = await stack.program('haproxy', ['-db', '-f', config], () => connects(port));
  return { port, plain, authority: cert, stop: program.stop, output: () => program.output };
}

cases(start, (fixture) => {
  it('loads the files without warnings', () => {
    assert.doesNotMatch(fixture.proxy.output(), /WARNING|ALERT/);
  });

  it('lets nobody in when hallpass.lua fails', async () => {
    const { stack, layout, name, PROGRAM, ADA } = fixture;
    const proxy = await start(stack, name, {
      hallpass: fixture.hallpass.port, app: fixture.app.port,
      change: (text) => text.replace('local headers = txn.http:req_get_headers()', 'error("broken")'),
    });
    const before = fixture.app.requests;
    const headers = [...PROGRAM, fixture.cookieOf(await fixture.signIn(ADA))];
    assert.equal((await send(proxy.port, layout.app, '/x', { headers })).status, 503);
    assert.equal(fixture.app.requests, before);
    await proxy.stop();
  });
}, {
  layouts: ['auth-subdomain'],
  http2: true,
  skip: {
    'drops trailers': 'HAProxy 2.6 passes them on',
    'lets WebDAV clients in with a token as the password': 'the file has no line for it',
    'lets git in with a token as the password': 'the file has no line for it',
    'lets a calendar client in with a token as the password': 'the file has no line for it',
  },
  preflights: (text, file) => (file === 'haproxy.cfg'
    ? uncomment(uncomment(text, 'acl public_preflight'), 'http-request lua.hallpass_public if app public_preflight') : text),
  remoteUser: (text, file) => (file === 'haproxy.cfg' ? uncomment(text, 'http-request set-header X-Remote-User') : text),
});
