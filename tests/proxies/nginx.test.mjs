// nginx with the very files of deploy/nginx.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { cases } from './cases.mjs';
import { send, substitute, upgrade } from './stack.mjs';

cases((stack, layout, ports) => stack.nginx(layout, ports), (here) => {
  it('has no doubts about the files', () => {
    assert.doesNotMatch(here.proxy.said(), /could not build|conflicting|deprecated|uninitialized/);
  });

  it('keeps its own questions to itself', async () => {
    const cookie = here.cookieOf(await here.signIn(here.ADA));
    for (const target of ['/.hallpass/check', '/.hallpass/refused', '/.hallpass/signed-out', '/%2ehallpass/check']) {
      const answer = await send(here.proxy.port, here.layout.app, target, { headers: [...here.PROGRAM, cookie] });
      assert.equal(answer.status, 404, target);
    }
  });

  it('works with the HTTP/1.0 that nginx speaks unless it is told otherwise', async () => {
    const { stack, layout, name, BROWSER, PROGRAM, ADA, EVE, DEEP } = here;
    const old = await stack.nginx(name, {
      hallpass: here.hallpass.port, app: here.app.port,
      change: (text, file) => (file === 'hallpass-subrequest.conf' ? substitute(text, [
        [/proxy_http_version +1\.1;/g, ''], [/proxy_set_header +Connection +"";/g, ''],
      ]) : text),
    });
    const get = (host, target, headers) => send(old.port, host, target, { headers });
    const [ada, eve] = [await here.signIn(ADA), await here.signIn(EVE)];
    here.assertIdentity(await get(layout.app, DEEP, [...PROGRAM, here.cookieOf(ada)]), ADA);
    assert.equal((await get(layout.app, DEEP, BROWSER)).status, 302);
    assert.equal((await get(layout.app, DEEP, PROGRAM)).status, 401);
    assert.equal((await get(...layout.listed, [...BROWSER, here.cookieOf(eve)])).status, 403);
    await old.stop();
  });

  it('keeps a WebSocket that is idle for longer than the time-outs of nginx', async () => {
    const proxy = await here.stack.nginx(here.name, {
      hallpass: here.hallpass.port, app: here.app.port, http: 'proxy_read_timeout 1s; proxy_send_timeout 1s;',
    });
    const cookie = here.cookieOf(await here.signIn(here.ADA));
    const socket = await upgrade(proxy.port, here.layout.app, '/socket', [cookie], { idle: 2_500 });
    assert.equal(socket.status, 101);
    await proxy.stop();
  });

  it('shows its own faults as its own', async () => {
    const proxy = await here.stack.nginx(here.name, { hallpass: here.hallpass.port, app: here.app.port });
    const cookie = here.cookieOf(await here.signIn(here.ADA));
    fs.rmSync(path.join(proxy.folder, 'client_body'), { recursive: true });
    const upload = { method: 'PUT', headers: [cookie], body: 'x'.repeat(1e6) };
    const answer = await send(proxy.port, here.layout.app, '/x', upload);
    assert.equal(answer.status, 500);
    assert.ok(!answer.text.includes('identity'), answer.text);
    await proxy.stop();
  });
});
