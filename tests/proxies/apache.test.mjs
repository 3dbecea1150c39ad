// Apache with the files of deploy/apache.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { ROOT, connects, freePort, send, substitute } from './stack.mjs';

const deploy = (name) => fs.readFileSync(path.join(ROOT, 'deploy/apache', name), 'utf8');
/** The modules that hallpass.conf needs, and those that Debian loads in any case. */
const MODULES = ['alias', 'authz_core', 'lua', 'mpm_event', 'proxy', 'proxy_http', 'rewrite', 'socache_shmcb', 'ssl'];

async function start(stack, layout, { hallpass, app, change = (text) => text }) {
  const [port, plain, { cert, key }] = [await freePort(), await freePort(), stack.certificate()];
  const folder = path.join(stack.folder, `apache-${port}`);
  const lua = stack.file(`apache-${port}/hallpass.lua`, substitute(change(deploy('hallpass.lua'), 'hallpass.lua'), [
    ['http://127.0.0.1:8080', `http://127.0.0.1:${hallpass}`],
  ]));
  const site = substitute(change(deploy('hallpass.conf'), 'hallpass.conf'), [
    [/\/etc\/letsencrypt\/\S+fullchain.pem/g, cert],
    [/\/etc\/letsencrypt\/\S+privkey.pem/g, key],
    ['/etc/apache2/hallpass.lua ', `${lua} `],
    [/<VirtualHost \*:80>/g, `<VirtualHost *:${plain}>`],
    [/<VirtualHost \*:443>/g, `<VirtualHost *:${port}>`],
    ['http://127.0.0.1:8080', `http://127.0.0.1:${hallpass}`],
    ['http://127.0.0.1:3000', `http://127.0.0.1:${app}`],
    ['http://127.0.0.1:3001', `http://127.0.0.1:${app}`],
  ]);
  const modules = MODULES.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so\n`).join('');
  const config = stack.file(`apache-${port}/apache.conf`, `${modules}ServerRoot ${folder}\nServerName localhost
    PidFile ${folder}/pid\nErrorLog ${folder}/error.log\nMutex file:${folder}\nDefaultRuntimeDir ${folder}
    LimitRequestFields 400\nListen 127.0.0.1:${plain}\nListen 127.0.0.1:${port}\n${site}`);
  const program = await stack.program('apache2', ['-X', '-f', config], () => connects(port));
  stack.onStop(program.kill);  // It would wait for idle connections.
  const output = () => fs.readFileSync(`${folder}/error.log`, 'utf8');
  return { port, plain, authority: cert, stop: program.kill, output };
}

cases(start, (fixture) => {
  it('loads the files without warnings', () => {
    const started = fixture.proxy.output().split('\n').filter((line) => !line.includes('[client '));
    assert.doesNotMatch(started.join('\n'), /\[(lua|proxy|core|rewrite)[a-z_]*:(warn|error|crit)\]/);
  });

  it('lets nobody in when hallpass.lua fails', async () => {
    const { stack, layout, name, PROGRAM, ADA } = fixture;
    const headers = [...PROGRAM, fixture.cookieOf(await fixture.signIn(ADA))];
    const before = fixture.app.requests;
    for (const broken of [['local own = cookies(', 'error("broken") --'], ['function app(r)', 'function other(r)']]) {
      const proxy = await start(stack, name, {
        hallpass: fixture.hallpass.port, app: fixture.app.port, change: (text) => text.replace(...broken),
      });
      assert.equal((await send(proxy.port, layout.app, '/x', { headers })).status, 500);
      await proxy.stop();
    }
    assert.equal(fixture.app.requests, before);
  });
}, {
  layouts: ['auth-subdomain'],
  skip: {
    'lets WebDAV clients in with a token as the password': 'the file has no line for it',
    'lets git in with a token as the password': 'the file has no line for it',
    'lets a calendar client in with a token as the password': 'the file has no line for it',
  },
  preflights: (text) => text.replace('PREFLIGHTS = false', 'PREFLIGHTS = true'),
  remoteUser: (text) => text.replace('ALSO = {}', 'ALSO = { ["X-Remote-User"] = "remote-user" }'),
});
